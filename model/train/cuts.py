"""Where a cursor may stand in a file, and what would be typed there: holes cut along lines and syntax nodes.

It knows nothing of tokens or prompts: a cut is two offsets. Offsets are in characters.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property

import tree_sitter_javascript
import tree_sitter_python
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser, Tree

MAX_MIDDLE_CHARS = 480
_MAX_BLOCK_LINES = 12
_MAX_ARGUMENT_CHARS = 160
_TRIES = 12
_PROSE_SHARE = 0.25
"""Of the comment and docstring lines that come up, how many are taken."""


class CutKind(StrEnum):
    """What the missing middle is."""

    LINE = "line"
    BLOCK = "block"
    STATEMENT = "statement"
    ARGUMENTS = "arguments"
    SPAN = "span"
    EMPTY = "empty"


class Cursor(StrEnum):
    """Where the cursor stands. `COLUMN_0`: of an indented line, so that the indentation is part of the middle."""

    COLUMN_0 = "column 0"
    INDENTED = "after indentation"
    MID_TOKEN = "mid-token"
    MID_LINE = "mid-line"
    LINE_END = "line end"
    BLOCK_START = "block start"


@dataclass(frozen=True, slots=True)
class Cut:
    """The hole text[start:end]; the cursor stands at `start`."""

    start: int
    end: int
    kind: CutKind
    cursor: Cursor


KIND_SHARES = {
    CutKind.LINE: 0.50,
    CutKind.BLOCK: 0.10,
    CutKind.STATEMENT: 0.12,
    CutKind.ARGUMENTS: 0.13,
    CutKind.SPAN: 0.10,
    CutKind.EMPTY: 0.05,
}
_LINE_CURSORS = {Cursor.INDENTED: 0.44, Cursor.COLUMN_0: 0.12, Cursor.MID_TOKEN: 0.18, Cursor.MID_LINE: 0.26}
_BLOCKS = frozenset({"block", "statement_block", "class_body", "switch_body", "interface_body", "object_type"})
_BRACKETS = frozenset(
    {"argument_list", "arguments", "parameters", "formal_parameters", "list", "array", "dictionary", "object", "tuple"}
)
_NOT_CODE = frozenset({"comment", "string_content", "string_fragment", "template_string", "string_start", "string_end"})
_TOKEN = re.compile(r"\w+|[^\w\s]")


def draw_kind(rng: random.Random) -> CutKind:
    """A kind, by its share."""
    return rng.choices(list(KIND_SHARES), list(KIND_SHARES.values()))[0]


class Cutter:
    """Cuts holes into one file. The choice is the random generator's alone, so equal seeds give equal cuts."""

    def __init__(self, text: str, language: str) -> None:
        self.text = text
        self._language = language
        self._lines = [match.start() for match in re.finditer(r"^", text, re.MULTILINE)]

    def cut_kind(self, kind: CutKind, rng: random.Random) -> Cut | None:
        """A cut of the given kind; None: the file offers none in a fair number of tries."""
        propose = {
            CutKind.LINE: self._rest_of_line,
            CutKind.BLOCK: self._block,
            CutKind.STATEMENT: self._statement,
            CutKind.ARGUMENTS: self._arguments,
            CutKind.SPAN: self._span,
            CutKind.EMPTY: self._empty,
        }[kind]
        for _ in range(_TRIES):
            start, end = self._line(rng)
            if self._is_prose(start, end) and rng.random() > _PROSE_SHARE:
                continue
            cut = propose(start, end, rng)
            if cut is not None and cut.end - cut.start <= MAX_MIDDLE_CHARS:
                return cut
        return None

    def _rest_of_line(self, start: int, end: int, rng: random.Random) -> Cut | None:
        line = self.text[start:end]
        indented = start + len(line) - len(line.lstrip())
        if indented == end or line != line.rstrip():
            return None
        cursor = rng.choices(list(_LINE_CURSORS), list(_LINE_CURSORS.values()))[0]
        if cursor is Cursor.INDENTED:
            return Cut(indented, end, CutKind.LINE, cursor)
        if cursor is Cursor.COLUMN_0:
            return Cut(start, end, CutKind.LINE, cursor) if indented > start else None
        at = self._inside(indented, end, cursor, rng)
        return None if at is None else Cut(at, end, CutKind.LINE, cursor)

    def _inside(self, start: int, end: int, cursor: Cursor, rng: random.Random) -> int | None:
        """A place inside a line: within a word, or between tokens with or without the space that follows."""
        tokens = list(_TOKEN.finditer(self.text, start, end))
        if cursor is Cursor.MID_TOKEN:
            words = [token for token in tokens if len(token.group()) >= 3]
            if not words:
                return None
            word = rng.choice(words)
            return rng.randrange(word.start() + 1, word.end())
        ends = [token.end() for token in tokens if token.end() < end]
        if not ends:
            return None
        at = rng.choice(ends)
        after_space = self.text[at] == " " and rng.random() < 0.5
        return at + 1 if after_space else at

    def _block(self, start: int, end: int, rng: random.Random) -> Cut | None:
        node = self._ancestor(start, end, rng, lambda node: node.type in _BLOCKS)
        if node is None or not node.named_children:
            return None
        first, last = self._chars(node.named_children[0].start_byte), self._chars(node.named_children[-1].end_byte)
        if self.text.count("\n", first, last) >= _MAX_BLOCK_LINES:
            return None
        line = self._lines[bisect_right(self._lines, first) - 1]
        alone = not self.text[line:first].strip()
        if alone and first > line and rng.random() < 0.25:
            return Cut(line, last, CutKind.BLOCK, Cursor.COLUMN_0)
        if alone and line > 0 and rng.random() < 0.2:
            return Cut(line - 1, last, CutKind.BLOCK, Cursor.LINE_END)
        return Cut(first, last, CutKind.BLOCK, Cursor.BLOCK_START)

    def _statement(self, start: int, end: int, rng: random.Random) -> Cut | None:
        def is_statement(node: Node) -> bool:
            return node.parent is not None and (node.parent.type in _BLOCKS or node.parent.parent is None)

        node = self._ancestor(start, end, rng, is_statement)
        if node is None:
            return None
        first, last = self._chars(node.start_byte), self._chars(node.end_byte)
        several = "\n" in self.text[first:last]
        if not several and rng.random() < 0.6:
            return None
        if not several or rng.random() < 0.6:
            return Cut(first, last, CutKind.STATEMENT, Cursor.INDENTED)
        # Begun already: the cursor stands somewhere on the statement's first line.
        line_end = self.text.index("\n", first)
        cursor = rng.choice((Cursor.MID_LINE, Cursor.MID_TOKEN))
        at = self._inside(first, line_end, cursor, rng)
        return None if at is None else Cut(at, last, CutKind.STATEMENT, cursor)

    def _arguments(self, start: int, end: int, rng: random.Random) -> Cut | None:
        node = self._ancestor(start, end, rng, lambda node: node.type in _BRACKETS and bool(node.named_children))
        if node is None:
            return None
        first, last = self._chars(node.start_byte) + 1, self._chars(node.end_byte) - 1
        if not 0 < last - first <= _MAX_ARGUMENT_CHARS:
            return None
        commas = [match.end() for match in re.finditer(", ?", self.text[first:last])]
        if commas and rng.random() < 0.4:
            first += rng.choice(commas)
        cursor = Cursor.LINE_END if self.text[first : first + 1] == "\n" else Cursor.MID_LINE
        return Cut(first, last, CutKind.ARGUMENTS, cursor)

    def _span(self, start: int, end: int, rng: random.Random) -> Cut | None:
        if end - start < 4:
            return None
        first = rng.randrange(start, end)
        last = min(len(self.text), first + round(2 ** rng.uniform(1, 7)))
        if self.text.count("\n", first, last) > 2:
            return None
        return Cut(first, last, CutKind.SPAN, Cursor.MID_LINE)

    def _empty(self, start: int, end: int, rng: random.Random) -> Cut | None:
        line = self.text[start:end]
        if not line.strip() or line != line.rstrip():
            return None
        if rng.random() < 0.75:
            return Cut(end, end, CutKind.EMPTY, Cursor.LINE_END)
        at = self._inside(start, end, Cursor.MID_LINE, rng)
        return None if at is None else Cut(at, at, CutKind.EMPTY, Cursor.MID_LINE)

    def _line(self, rng: random.Random) -> tuple[int, int]:
        """Start and end (before its newline) of a random line."""
        number = rng.randrange(len(self._lines))
        start = self._lines[number]
        end = self._lines[number + 1] - 1 if number + 1 < len(self._lines) else len(self.text)
        return start, end

    def _is_prose(self, start: int, end: int) -> bool:
        line = self.text[start:end]
        at = self._bytes(start + len(line) - len(line.lstrip()))
        leaf = self._tree.root_node.descendant_for_byte_range(at, at + 1)
        return leaf is not None and leaf.type in _NOT_CODE

    def _ancestor(self, start: int, end: int, rng: random.Random, wanted: Callable[[Node], bool]) -> Node | None:
        """The smallest wanted node around a random place of the line."""
        at = self._bytes(rng.randrange(start, end) if end > start else start)
        node = self._tree.root_node.descendant_for_byte_range(at, at)
        while node is not None and not wanted(node):
            node = node.parent
        return None if node is None or node.has_error else node

    @cached_property
    def _tree(self) -> Tree:
        return parser(self._language).parse(self.text.encode())

    @cached_property
    def _byte_starts(self) -> list[int] | None:
        """Byte offset of each character; None where they are equal."""
        if self.text.isascii():
            return None
        starts, at = [], 0
        for char in self.text:
            starts.append(at)
            at += len(char.encode())
        return [*starts, at]

    def _bytes(self, chars: int) -> int:
        return chars if self._byte_starts is None else self._byte_starts[chars]

    def _chars(self, byte: int) -> int:
        return byte if self._byte_starts is None else bisect_right(self._byte_starts, byte) - 1


@cache
def parser(language: str) -> Parser:
    """The tree-sitter parser of one of the four languages that are trained on."""
    grammars = {
        "python": tree_sitter_python.language,
        "javascript": tree_sitter_javascript.language,
        "typescript": tree_sitter_typescript.language_typescript,
        "tsx": tree_sitter_typescript.language_tsx,
    }
    return Parser(Language(grammars[language]()))
