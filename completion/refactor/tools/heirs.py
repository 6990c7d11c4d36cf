"""Classes that inherit a constructor, which rope does not follow: where they say `super().__init__`, and who has none.

By syntax alone. Where a class has other bases first, who its `super()` is cannot be told.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from completion.refactor.source import NO_PYTHON

Spot = tuple[int, int]
"""A 1-based line and a column in code points, from 0."""

_CONSTRUCTOR = "__init__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heir:
    """A class with a given base. `certain`: the base comes first. `own`: it has a constructor of its own."""

    name: str
    line: int
    certain: bool
    own: bool
    supers: tuple[Spot, ...]
    """Where it says `super().__init__`: the name's place."""


def heirs(text: str, spots: Collection[Spot]) -> list[Heir]:
    """The classes of a text one of whose bases stands at one of the spots; none where it cannot be parsed."""
    try:
        tree = ast.parse(text)
    except NO_PYTHON:
        return []
    lines = text.split("\n")
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        held = [number for number, base in enumerate(node.bases) if _spot(base, lines) in spots]
        if held:
            inner = list(_inside(node))
            supers = tuple(_spot(one, lines) for one in inner if _is_super(one, node.name))
            own = any(isinstance(one, ast.FunctionDef) and one.name == _CONSTRUCTOR for one in inner)
            found.append(Heir(name=node.name, line=node.lineno, certain=held[0] == 0, own=own, supers=supers))
    return found


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a class, and not to a class within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef):
            yield child
            yield from _inside(child)


def _is_super(node: ast.AST, name: str) -> bool:
    """Whether it is `super().__init__`, or `super(Name, self).__init__`."""
    if not isinstance(node, ast.Attribute) or node.attr != _CONSTRUCTOR or not isinstance(node.value, ast.Call):
        return False
    called, given = node.value.func, node.value.args
    own = not given or (isinstance(given[0], ast.Name) and given[0].id == name)
    return own and isinstance(called, ast.Name) and called.id == "super"


def _spot(node: ast.AST, lines: list[str]) -> Spot:
    """Where the last name of `a.b.Name[T]` stands."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and node.end_lineno is not None and node.end_col_offset is not None:
        return node.end_lineno, _column(lines[node.end_lineno - 1], node.end_col_offset) - len(node.attr)
    if isinstance(node, ast.expr):
        return node.lineno, _column(lines[node.lineno - 1], node.col_offset)
    return 0, 0


def _column(line: str, byte: int) -> int:
    return byte if line.isascii() else len(line.encode()[:byte].decode())
