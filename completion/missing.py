"""Names that the function around the cursor reads behind it, and that nothing there or elsewhere in the file binds.

Whoever stands on an empty line above is about to bind one of them. Python only, since only there is it known which
names the language itself brings.
"""

from __future__ import annotations

import builtins
import re
import sys
from dataclasses import dataclass
from keyword import kwlist
from typing import TYPE_CHECKING

from completion.brackets import CLOSERS
from completion.stopping import indent_of

if TYPE_CHECKING:
    from tree_sitter import Node

    from completion.refactor.scopes import Scopes

_ALIASES = ("np", "pd", "plt", "tf")
_PYTHON_2 = ("basestring", "long", "raw_input", "unichr", "unicode", "xrange")
_KNOWN = frozenset((*dir(builtins), *kwlist, *sys.stdlib_module_names, *_ALIASES, *_PYTHON_2, "self", "cls", "_"))
"""What a file may read without binding it, and modules whose import was forgotten rather than a line here."""
_STAR_IMPORT = re.compile(r"^\s*from\s.+\simport\s*\*", re.MULTILINE)
_SAYING = frozenset(
    ("import_statement", "import_from_statement", "future_import_statement", "global_statement", "nonlocal_statement")
)
_LONGEST_FUNCTION = 20_000
_MOST = 3
"""Where more are missing, the code was brought from elsewhere, and a line more will not mend it."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A name, and whether the block that begins right behind the cursor reads it."""

    name: str
    in_block: bool


def missing_names(text: str, offset: int) -> list[Missing]:
    """The names, in the order in which they are read; none where the cursor is in no function."""
    from completion.refactor.scopes import scopes_of  # the server's start need not wait for this

    start = _function_around(text[:offset])
    if start is None:
        return []
    before = text[start:offset]
    function = before + _rest_of_function(text[offset:], indent=len(before) - len(before.lstrip()))
    if len(function) > _LONGEST_FUNCTION:
        return []
    scopes = scopes_of(function, "python")
    if scopes is None:
        return []
    at = len(before.encode("utf-8", "replace"))
    outside = text[:start] + text[start + len(function) :]
    if _STAR_IMPORT.search(outside):
        return []
    block_end = _block_end(function, len(before))
    found: dict[str, Missing] = {}
    seen: set[str] = set()
    for node in _names(scopes):
        name = (node.text or b"").decode("utf-8", "replace")
        if name in seen:
            continue
        seen.add(name)
        if node.start_byte >= at and _is_missing(scopes, node, at, outside):
            in_block = node.start_byte < len(function[:block_end].encode("utf-8", "replace"))
            found[name] = Missing(name, in_block)
    return list(found.values()) if len(found) <= _MOST else []


def _names(scopes: Scopes) -> list[Node]:
    from completion.refactor.scopes import is_member, leaves

    return [
        node
        for node in leaves(scopes.parsed.tree.root_node)
        if node.type == "identifier" and node.text and not is_member(node)
    ]


def _names_only(node: Node) -> bool:
    """Does a name stand where it is said, not read: in an import, behind `global`, behind `def` and `class`?"""
    parent = node.parent
    if parent is not None and parent.type in ("function_definition", "class_definition"):
        return parent.child_by_field_name("name") == node
    while parent is not None and parent.type in ("dotted_name", "aliased_import", "relative_import"):
        parent = parent.parent
    return parent is not None and parent.type in _SAYING


def _is_missing(scopes: Scopes, node: Node, at: int, outside: str) -> bool:
    """`node`: the first place of a name, behind the cursor at byte `at`."""
    name = (node.text or b"").decode("utf-8", "replace")
    parent = node.parent
    called = parent is not None and parent.type == "call" and parent.child_by_field_name("function") == node
    is_type = name[0].isupper() and not name.isupper()
    if name in _KNOWN or name.startswith("__") or called or is_type or _names_only(node):
        return False
    if re.search(rf"\b{re.escape(name)}\b", outside):
        return False
    binding = scopes.binding(node)
    if binding is None:
        return True
    if not binding.names:
        return False  # said to be global
    first = min(bound.start_byte for bound in binding.names)
    if first > node.start_byte:  # functions within are called later, and comprehensions bind behind the value
        return scopes.scope_at(node.start_byte) is binding.scope and binding.scope.start < at
    return first == node.start_byte and parent is not None and parent.type == "augmented_assignment"


def _function_around(before: str) -> int | None:
    """Where the innermost function begins that a text ends in; None where a class, or nothing, is nearer."""
    lines = before.splitlines(keepends=True)
    start = len(before) - len(lines[-1]) if lines else 0
    width = indent_of(lines[-1]) if lines else 0
    for line in reversed(lines[:-1]):
        start -= len(line)
        code = line.strip()
        if not code or code.startswith("#") or indent_of(line) >= width:
            continue
        width = indent_of(line)
        if code.startswith(("def ", "async def ")):
            return start
        if code.startswith("class "):
            return None
        if code[0] in CLOSERS:  # what it closes begins on a line that stands as far in
            width += 1
    return None


def _rest_of_function(behind: str, *, indent: int) -> str:
    """What of the text behind the cursor belongs to a function that is indented so far."""
    lines = behind.splitlines(keepends=True)
    for index, line in enumerate(lines[1:], 1):
        code = line.lstrip()
        if code and len(line) - len(code) <= indent:
            return "".join(lines[:index])
    return behind


def _block_end(function: str, at: int) -> int:
    """Where the lines end that stand as deep as the first one behind the cursor, or deeper."""
    end, depth = at, None
    for line in function[at:].splitlines(keepends=True)[1:]:
        code = line.strip()
        width = len(line) - len(line.lstrip())
        if code and depth is None:
            depth = width
        if code and depth is not None and width < depth:
            break
        end += len(line)
    return end + len(function[at:].partition("\n")[0]) + 1
