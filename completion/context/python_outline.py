"""Python's definitions and imports by its lines: what the grammar finds, several times as fast.

Whole statements are told apart (strings, comments, brackets and backslashes are minded), and blocks by indentation.
Whatever is not laid out as most code is (tabs, several statements on a line, strings without an end …) is left to the
grammar, `completion.context.extract`, which is the reference of this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from keyword import kwlist

from completion.context.facts import MAX_DEFINITIONS, MAX_NAME, Found, Import
from completion.context.imports import read_imports

_TEXT = re.compile(
    r'("""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""|'
    r"'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''|"
    r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'
    r"'[^'\\\n]*(?:\\.[^'\\\n]*)*'|"
    r"#[^\n]*)",
    re.DOTALL,
)
_ODD = re.compile(r"""["';\t\f]|^ *type +\w+\s*[\[=]""", re.MULTILINE)
"""What is left to the grammar, once strings and comments are out; with names that are not ASCII."""
_INSIDE = re.compile(r"(async\s+def|def|class)\s+(\w+)|(@)|(import|from)\b|(self)\s*\.\s*(\w+)\s*(:(?!=)|=(?!=))")
_OUTSIDE = re.compile(_INSIDE.pattern + r"|(if|try)\b|([^\W\d]\w*)\s*(:(?!=)|=(?!=))")
_CHAINED = re.compile(r"\s*(self\s*\.\s*)?([^\W\d]\w*)\s*=(?!=)")
_LATER_FIELD = re.compile(r"[=:]\s*self\s*\.\s*\w+\s*(?::|=(?!=))")
_LATER_IMPORT = re.compile(r":\s*(?:import|from)\b")
_LATER_NAME = re.compile(r":\s*[^\W\d]\w*\s*(?::|=(?!=))")
_FUTURE = re.compile(r"from\s+__future__\b")
_KEYWORDS = frozenset(kwlist)
_LINE = 1 << 20
"""Places are told as row · _LINE + column: all that matters is their order."""


class _Odd(Exception):
    """Not an error: the grammar must read this text."""


@dataclass(slots=True)
class _Block:
    """An open block. `found` is None for an `if` or `try` of the module; `inner` is its indentation, once known."""

    indent: int
    found: Found | None
    inner: int = -1


@dataclass(slots=True)
class _Statement:
    """One logical line without strings and comments; rows count from 0."""

    text: str
    indent: int
    first_row: int
    last_row: int


def outline(text: str) -> tuple[list[Found], list[Import]] | None:
    """Definitions in the order of the text, and imports; None for a text that the grammar must read."""
    if "\0" in text or "\r" in text:
        return None
    pieces = _TEXT.split(text)
    pieces[1::2] = map(_masked, pieces[1::2])
    masked = "".join(pieces)
    if not masked.isascii() or _ODD.search(masked):
        return None
    reader = _Reader(text.split("\n"))
    try:
        for statement in _statements(masked):
            reader.read(statement)
        reader.close()
    except _Odd:
        return None
    return reader.found, reader.imports


def _masked(token: str) -> str:
    """A comment is nothing, a string a digit; its line ends are marked, since they end no statement."""
    return "" if token[0] == "#" else "0" + "\0" * token.count("\n")


def _statements(masked: str) -> Iterator[_Statement]:
    row = 0
    waiting: list[str] = []
    depth = first_row = 0
    for line in masked.split("\n"):
        last_row = row + line.count("\0") if "\0" in line else row
        if waiting or (line and not line.isspace()):
            if not waiting:
                first_row = row
            waiting.append(line)
            depth += line.count("(") - line.count(")")
            if "[" in line or "]" in line or "{" in line or "}" in line:
                depth += line.count("[") - line.count("]") + line.count("{") - line.count("}")
            if depth < 0:
                raise _Odd
            if depth == 0 and not line.endswith("\\"):
                whole = waiting[0] if len(waiting) == 1 else "\n".join(waiting)
                text = whole.lstrip(" ")
                yield _Statement(text, len(whole) - len(text), first_row, last_row)
                waiting.clear()
        row = last_row + 1
    if waiting:
        raise _Odd


class _Reader:
    """Takes statements in order, and gathers what they define."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.found: list[Found] = []
        self.imports: list[Import] = []
        self._blocks: list[_Block] = []
        self._decorated_row: int | None = None
        self._last_row = 0

    def read(self, one: _Statement) -> None:
        """The next statement."""
        blocks = self._blocks
        while blocks and one.indent <= blocks[-1].indent:
            self._close_one(one.first_row)
        self._last_row = one.last_row
        top = blocks[-1] if blocks else None
        if top is not None and top.inner < 0:
            top.inner = one.indent
            if top.found is not None:
                top.found.body_row, top.found.body_column = one.first_row, one.indent
        # Names that are bound here belong to a class or to the module.
        binds = one.indent == 0 if top is None else one.indent == top.inner and not _is_function(top)
        match = (_OUTSIDE if binds else _INSIDE).match(one.text)
        if match is None:
            self._look_behind(one, 0)
        elif match[1]:
            self._define(one, match)
        elif match[3]:
            if self._decorated_row is None:
                self._decorated_row = one.first_row
        elif match[4]:
            if not _FUTURE.match(one.text):
                self.imports += read_imports("python", one.text)
        elif match[5]:
            self._add("field", match[6], one, 0)
            self._follow_chain(one, match[7], match.end())
        elif match[8]:
            if top is None and _ends_open(one):
                blocks.append(_Block(one.indent, None))
            elif top is None and _LATER_NAME.search(one.text):
                raise _Odd
            self._look_behind(one, 0)
        elif match[9] in _KEYWORDS:
            self._look_behind(one, 0)
        else:
            kind = "constant" if top is None or top.found is None else "field"
            self._add(kind, match[9], one, 0)
            self._follow_chain(one, match[10], match.end())

    def close(self) -> None:
        """The text ends here."""
        while self._blocks:
            self._close_one(len(self._lines))
        self.found.sort(key=lambda one: (one.start, -one.end))

    def _close_one(self, next_row: int) -> None:
        block = self._blocks.pop()
        if block.inner < 0:
            raise _Odd  # a block without a statement
        if block.found is not None:
            last_row = self._last_row
            for row in range(last_row + 1, next_row):  # comments as deep as the block are part of it
                line = self._lines[row].lstrip(" ")
                if line.startswith("#"):
                    if len(self._lines[row]) - len(line) < block.inner:
                        break
                    last_row = row
            block.found.last_row = last_row
            block.found.end = (last_row + 1) * _LINE

    def _define(self, one: _Statement, match: re.Match[str]) -> None:
        first_row = one.first_row if self._decorated_row is None else self._decorated_row
        self._decorated_row = None
        found = self._add("class" if match[1] == "class" else "function", match[2], one, 0)
        found.first_row, found.start = first_row, first_row * _LINE + one.indent
        if _ends_open(one):
            self._blocks.append(_Block(one.indent, found))
            return
        last = one.text.rpartition("\n")[2]
        closes = last is one.text or last.lstrip().startswith((")", "]"))
        if ":" not in last or not closes or "\0" in one.text or (match[1] == "class" and _LATER_NAME.search(one.text)):
            raise _Odd
        found.body_row, found.body_column = one.last_row, one.indent + one.text.rfind(":")
        self._look_behind(one, match.end())

    def _follow_chain(self, one: _Statement, mark: str, place: int) -> None:
        """`a = self.b = c`: the targets behind the first."""
        while mark == "=" and (match := _CHAINED.match(one.text, place)):
            if match[1]:
                self._add("field", match[2], one, match.start(1))
            place = match.end()
        self._look_behind(one, place - 1)

    def _look_behind(self, one: _Statement, place: int) -> None:
        """What stands behind a colon on the same line is left to the grammar, where it would count."""
        text = one.text
        if "self" in text and _LATER_FIELD.search(text, place):
            raise _Odd
        if "import" in text and _LATER_IMPORT.search(text):
            raise _Odd

    def _add(self, kind: str, name: str, one: _Statement, place: int) -> Found:
        if len(name) > MAX_NAME or len(self.found) == MAX_DEFINITIONS:
            raise _Odd
        found = Found(
            kind=kind,
            name=name,
            start=one.first_row * _LINE + one.indent + place,
            end=(one.last_row + 1) * _LINE,
            first_row=one.first_row,
            last_row=one.last_row,
            body_row=one.first_row,
            body_column=-1,
            receiver="",
        )
        self.found.append(found)
        return found


def _ends_open(one: _Statement) -> bool:
    """Does a block follow?"""
    return one.text.rstrip().endswith(":")


def _is_function(block: _Block) -> bool:
    return block.found is not None and block.found.kind == "function"
