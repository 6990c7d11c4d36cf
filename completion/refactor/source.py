"""A text file as bytes and as text: encoding, byte-order mark and line ends are kept apart, and put back on writing.

Inside, every line ends with "\\n". A file that mixes line ends keeps each old line's own; new lines take the ending of
the line above. Nothing is read from or written to disk here.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from model.errors import RefusedError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n|\n|\r")
NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python's parser raises for a text that is no code, or nested too deeply for it."""
_OF_NAMES = frozenset({"idna", "punycode", "undefined"})
"""Encodings of host names: no file is written in them, and reading a long one takes for ever."""
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A decoded file. `text` has "\\n" alone; `endings` says how the lines of the file end, in order."""

    text: str
    encoding: str = "utf-8"
    bom: bytes = b""
    endings: tuple[str, ...] = ()

    def encode(self, text: str, *, path: str) -> bytes:
        """The bytes of a changed text, in this file's manner. Raises `RefusedError` for what its encoding lacks."""
        try:
            return self.bom + self._with_endings(text).encode(self.encoding)
        except UnicodeEncodeError as error:
            raise RefusedError(
                f"{path} is encoded in {self.encoding}, which has no {text[error.start : error.end]!r}.",
                hint="Convert the file to UTF-8 first.",
            ) from error

    def _with_endings(self, text: str) -> str:
        kinds = set(self.endings)
        if not kinds or kinds == {"\n"}:
            return text
        if len(kinds) == 1:
            return text.replace("\n", self.endings[0])
        old, new = self.text.split("\n"), text.split("\n")
        kept: dict[int, str] = {}
        for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
            for step in range(block.size):
                if block.a + step < len(self.endings):
                    kept[block.b + step] = self.endings[block.a + step]
        pieces: list[str] = []
        ending = self.endings[0]
        for number, line in enumerate(new[:-1]):
            ending = kept.get(number, ending)
            pieces += (line, ending)
        return "".join([*pieces, new[-1]])


def decode(content: bytes, *, path: str) -> Source:
    """Text from bytes: by byte-order mark, a Python file's declaration, UTF-8, or Latin-1, which loses no byte.

    Raises `RefusedError` for a binary file, and for bytes that are not in the encoding that the file declares, or
    would not come back from it as they are.
    """
    bom, encoding = next(((mark, name) for mark, name in _BOMS if content.startswith(mark)), (b"", ""))
    body = content[len(bom) :]
    if not encoding:
        if b"\0" in body[:8192]:
            raise RefusedError(f"{path} is a binary file.", hint="Only text files are changed.")
        encoding = _declared(body) if path.endswith((".py", ".pyi", ".pyw")) else ""
    try:
        raw = body.decode(encoding or "utf-8")
        kept = not encoding or raw.encode(encoding) == body
    except UnicodeError as error:
        if encoding:
            raise RefusedError(f"{path} is not in {encoding}, as it says.", hint="Repair its encoding.") from error
        encoding, raw, kept = "latin-1", body.decode("latin-1"), True
    if not kept:
        raise RefusedError(f"{path} would not stay as it is in {encoding}.", hint="Convert the file to UTF-8 first.")
    endings = tuple(_LINE_END.findall(raw))
    text = raw.replace("\r\n", "\n").replace("\r", "\n")
    return Source(text=text, encoding=encoding or "utf-8", bom=bom, endings=endings)


def _declared(body: bytes) -> str:
    for line in body.split(b"\n", 2)[:2]:
        if match := _COOKIE.match(line):
            try:
                found = codecs.lookup(match[1].decode("ascii"))
            except LookupError:
                return ""
            is_text = getattr(found, "_is_text_encoding", True)  # not so: zlib, rot13
            return found.name if is_text and found.name not in _OF_NAMES else ""
    return ""
