"""A place in a file, as people write it on a command line: `FILE:LINE:COL`. Reads text files of any encoding."""

from __future__ import annotations

import codecs
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from model.errors import UsageError

_LINE_END = re.compile(r"\r\n|\n|\r")
_NUMBER_BEHIND = re.compile(r"^(?P<file>.+):(?P<number>\d+)$", re.DOTALL)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ROOT_MARKS = (".git", ".hg", "pyproject.toml", "package.json", "go.mod", "Cargo.toml")


@dataclass(frozen=True, slots=True)
class Target:
    """A text and an offset in it (code points), with the path that a prompt may show."""

    text: str
    offset: int
    path: str
    root: str | None


def read_target(place: str, *, shown_path: str | None = None) -> Target:
    """Read what `place` names: `FILE`, `FILE:LINE` or `FILE:LINE:COL`; `-` for standard input.

    Lines and columns count from 1, columns in characters. Without a column: the end of the line. Without a line:
    the end of the file. Raises `UsageError` where there is no such file, no such place, or no text.
    """
    name, line, column = _parse(place)
    text = decode(sys.stdin.buffer.read() if name == "-" else _read(name), name)
    offset = len(text) if line is None else offset_at(text, line, column)
    if name == "-":
        return Target(text, offset, shown_path or "stdin", None)
    root = project_root(Path(name).absolute())
    path = shown_path or Path(name).absolute().relative_to(root).as_posix()
    return Target(text, offset, path, str(root))


def offset_at(text: str, line: int, column: int | None) -> int:
    """The offset of a 1-based line and column; the line's end when `column` is None.

    Raises `UsageError` for a line that the text does not have, or a column past the end of its line.
    """
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    if not 1 <= line <= len(starts):
        raise UsageError(f"There is no line {line}: the file has {len(starts)}.", hint="Lines count from 1.")
    start = starts[line - 1]
    end_match = _LINE_END.search(text, start)
    length = (end_match.start() if end_match else len(text)) - start
    if column is None:
        return start + length
    if not 1 <= column <= length + 1:
        raise UsageError(
            f"There is no column {column} in line {line}, which has {length} characters.",
            hint=f"Columns count from 1; {length + 1} is the end of this line. Leave the column out for the end.",
        )
    return start + column - 1


def place_of(text: str, offset: int) -> tuple[int, int]:
    """The 1-based line and column of an offset."""
    line, start = 1, 0
    for match in _LINE_END.finditer(text):
        if match.end() > offset:
            break
        line, start = line + 1, match.end()
    return line, offset - start + 1


def decode(data: bytes, name: str) -> str:
    """Text from bytes: by byte-order mark, else UTF-8, else Latin-1, in which every byte is a character."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if b"\0" in data[:8192]:
        raise UsageError(f"{name} is a binary file.", hint="Give a text file.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _parse(place: str) -> tuple[str, int | None, int | None]:
    """File, line and column. A colon and digits may also belong to a name: a file that exists wins."""
    name = place.removesuffix(":")
    numbers: list[int] = []
    while not Path(name).is_file() and len(numbers) < 2 and (match := _NUMBER_BEHIND.match(name)):
        name = match["file"]
        numbers.insert(0, int(match["number"]))
    if not name:
        raise UsageError("No file was given.", hint="Write FILE:LINE:COL, or - for standard input.")
    line, column, *_ = [*numbers, None, None]
    return name, line, column


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except IsADirectoryError as error:
        raise UsageError(f"{name} is a folder.", hint="Give a file: FILE:LINE:COL.") from error
    except PermissionError as error:
        raise UsageError(f"{name} may not be read.", hint="Check its permissions.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"{name} cannot be read: {reason}.", hint="Write FILE:LINE:COL, LINE and COL from 1."
        ) from error


def project_root(path: Path) -> Path:
    """The project that holds the file, or its folder."""
    for folder in path.parents:
        if any((folder / mark).exists() for mark in _ROOT_MARKS):
            return folder
    return path.parent
