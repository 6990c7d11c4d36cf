"""What inserting text at a cursor does to a file's syntax: parsed with tree-sitter, incrementally, on demand.

A tree of each document is kept and edited from key to key; text at the cursor costs one more edit. Long files, and
languages without a grammar, have no syntax here: stopping then goes by lines and brackets alone. Knows no model.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from completion.context.grammars import grammar

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

MAX_BYTES = 120_000
"""Longer files are not parsed: that would take longer than a key may."""
_KEPT_DOCUMENTS = 16
_JUMPS = frozenset(
    f"{word}_{kind}"
    for word in ("return", "raise", "throw", "break", "continue")
    for kind in ("statement", "expression")
)
_INDENTED = frozenset({"python"})
"""Languages whose grammars make blocks of indentation, and take a line that stands too deep for one of the block."""
_OPENING = frozenset("([{")
_LINES_BEHIND = 40
_MOST_ERRORS = 64
"""Counting ends here: a file with so many is broken anyway."""


@dataclass(frozen=True, slots=True)
class _Parsed:
    language_id: str
    source: bytes
    tree: Tree


class Syntax:
    """A parsed file with a cursor in it. Not for two threads at once."""

    def __init__(self, parser: Parser, source: bytes, at: int, tree: Tree, *, indented: bool = False) -> None:
        """`at`: the cursor's byte. `indented`: indentation makes the blocks."""
        self._parser = parser
        self._source = source
        self._at = at
        self._tree = tree
        self._indented = indented
        self._errors = _count_errors(tree.root_node)
        self._insertions: dict[str, Tree] = {}
        self.broken = self._errors > 0 and _broken_near(tree.root_node, source, at)
        """Is the file broken where the cursor is? Then nothing that is inserted there can be blamed."""

    def breaks(self, text: str) -> bool:
        """Would a file that can be parsed here no longer be, with `text` at the cursor?"""
        return not self.broken and self.faults(text) > self.faults("")

    def faults(self, text: str) -> int:
        """The errors, and one more where the next line of code would stand deeper, or less deep, than its block."""
        return self.errors(text) + self._misplaces(text)

    def errors(self, text: str) -> int:
        """How many places of the file cannot be parsed with `text` at the cursor."""
        return _count_errors(self._with(text).root_node)

    def lacks_body(self, text: str) -> bool:
        """Does `text` end in the head of a block that nothing follows, in a language where indentation makes blocks?"""
        end = self._at + len(text.rstrip().encode("utf-8", "replace"))
        node = self._with(text).root_node.descendant_for_byte_range(end - 1, end - 1)
        while node is not None and node.start_byte >= self._line_start():
            body = node.child_by_field_name("body") or node.child_by_field_name("consequence")
            if body is not None and body.start_byte == body.end_byte and body.start_byte >= end - 1:
                return True
            node = node.parent
        return False

    def _misplaces(self, text: str) -> bool:
        if not self._indented:
            return False
        tree, inserted = self._with(text), text.encode("utf-8", "replace")
        source = self._source[: self._at] + inserted + self._source[self._at :]
        start = _next_code(source, self._at + len(inserted))
        node = tree.root_node.descendant_for_byte_range(start, start + 1) if start is not None else None
        while node is not None and node.parent is not None and node.parent.type not in ("block", "module"):
            node = node.parent
        if node is None or node.parent is None or node.start_byte != start:
            return False  # it goes on with something, as lines between brackets do
        above = _line_above(node)
        return above is not None and above.start_point.column != node.start_point.column

    def kind_at(self) -> str:
        """What the cursor stands in: string, comment or code."""
        node = self._tree.root_node.descendant_for_byte_range(max(0, self._at - 1), self._at)
        while node is not None:
            inside = node.start_byte < self._at < node.end_byte
            if inside and "comment" in node.type:
                return "comment"
            if inside and "string" in node.type and "interpolation" not in node.type:
                return "string"
            if node.type in ("interpolation", "template_substitution"):
                return "code"
            node = node.parent
        return "code"

    def in_brackets(self) -> bool:
        """Does the cursor stand between the brackets of an expression?"""
        node = self._tree.root_node.descendant_for_byte_range(self._at, self._at)
        while node is not None and node.type not in ("block", "module"):
            first = node.children[0] if node.children else None
            if first is not None and first.type in _OPENING and first.end_byte <= self._at < node.end_byte:
                return True
            node = node.parent
        return False

    def follows_jump(self) -> bool:
        """Does a blank line with the cursor come behind a `return`, `raise`, … that stands as far in as the cursor?"""
        indent = self._source[self._line_start() : self._at]
        end = len(self._source[: self._at].rstrip())
        node = self._tree.root_node.descendant_for_byte_range(max(0, end - 1), end)
        while node is not None and node.end_byte == end:
            statement = node.named_children[0] if node.type == "expression_statement" and node.named_children else node
            start = statement.start_byte
            if statement.type in _JUMPS and self._source[self._source.rfind(b"\n", 0, start) + 1 : start] == indent:
                return True
            node = node.parent
        return False

    def _line_start(self) -> int:
        return self._source.rfind(b"\n", 0, self._at) + 1

    def _with(self, text: str) -> Tree:
        known = self._insertions.get(text)
        if known is None:
            inserted = text.encode("utf-8", "replace")
            source = self._source[: self._at] + inserted + self._source[self._at :]
            known = _reparse(self._parser, self._tree, self._source, source, at=self._at, behind=self._at)
            self._insertions[text] = known
        return known


class SyntaxTrees:
    """The trees of the documents that were worked on last."""

    def __init__(self) -> None:
        self._parsers: dict[str, Parser | None] = {}
        self._held: OrderedDict[str, _Parsed] = OrderedDict()

    def at(self, *, path: str, language_id: str, text: str, offset: int) -> Syntax | None:
        """The syntax around a cursor; None where there is no grammar, or the text is too long."""
        if len(text) > MAX_BYTES:
            return None
        parser = self._parser(language_id)
        source = text.encode("utf-8", "replace")
        if parser is None or len(source) > MAX_BYTES:
            return None
        held = self._held.pop(path, None)
        if held is not None and held.language_id == language_id:
            tree = held.tree if held.source == source else _follow(parser, held, source)
        else:
            tree = parser.parse(source)
        self._held[path] = _Parsed(language_id, source, tree)
        while len(self._held) > _KEPT_DOCUMENTS:
            self._held.popitem(last=False)
        at = len(text[:offset].encode("utf-8", "replace"))
        return Syntax(parser, source, at, tree, indented=language_id in _INDENTED)

    def forget(self, path: str) -> None:
        """Drop a document's tree."""
        self._held.pop(path, None)

    def _parser(self, language_id: str) -> Parser | None:
        """A parser of our own: the index's are used on another thread."""
        if language_id not in self._parsers:
            found = grammar(language_id)
            self._parsers[language_id] = None
            if found is not None and found.parser.language is not None:
                from tree_sitter import Parser

                self._parsers[language_id] = Parser(found.parser.language)
        return self._parsers[language_id]


def _follow(parser: Parser, held: _Parsed, source: bytes) -> Tree:
    """The tree of a text that differs from the one held in one place."""
    old = held.source
    head = _common(old, source)
    tail = _common(old[head:][::-1], source[head:][::-1])
    return _reparse(parser, held.tree, old, source, at=head, behind=len(old) - tail)


def _reparse(parser: Parser, tree: Tree, old: bytes, new: bytes, *, at: int, behind: int) -> Tree:
    """Parse `new`, which is `old` with `old[at:behind]` replaced, reusing what stayed."""
    edited = tree.copy()
    new_end = behind + len(new) - len(old)
    edited.edit(
        start_byte=at,
        old_end_byte=behind,
        new_end_byte=new_end,
        start_point=_point(old, at),
        old_end_point=_point(old, behind),
        new_end_point=_point(new, new_end),
    )
    return parser.parse(new, edited)


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two texts begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _line_above(node: Node) -> Node | None:
    """The statement of the same block that begins the line above."""
    above = node.prev_named_sibling
    while above is not None and above.type == "comment":
        above = above.prev_named_sibling
    while above is not None:
        before = above.prev_named_sibling
        if before is None or before.start_point.row != above.start_point.row:
            return above
        above = before
    return None


def _next_code(source: bytes, at: int) -> int | None:
    """Where the code of the first line behind `at`'s line begins that has any; None: there is none, or it is far."""
    end = source.find(b"\n", at)
    for _ in range(_LINES_BEHIND):
        if end < 0:
            return None
        start, end = end + 1, source.find(b"\n", end + 1)
        line = source[start : end if end >= 0 else len(source)]
        code = line.lstrip()
        if code and not code.startswith(b"#"):
            return start + len(line) - len(code)
    return None


def _point(source: bytes, at: int) -> tuple[int, int]:
    return source.count(b"\n", 0, at), at - source.rfind(b"\n", 0, at) - 1


def _errors_under(root: Node) -> list[Node]:
    """The nodes that could not be parsed, or were made up; few are visited, since sound parts are passed over."""
    found: list[Node] = []
    waiting = [root]
    while waiting and len(found) < _MOST_ERRORS:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            found.append(node)
        if node.has_error:
            waiting += node.children
    return found


def _count_errors(root: Node) -> int:
    return len(_errors_under(root))


def _broken_near(root: Node, source: bytes, at: int) -> bool:
    """Does one of the errors touch the cursor's line, or hold the cursor?"""
    start = source.rfind(b"\n", 0, at) + 1
    end = source.find(b"\n", at)
    end = len(source) if end < 0 else end
    return any(node.start_byte <= end and node.end_byte >= start for node in _errors_under(root))
