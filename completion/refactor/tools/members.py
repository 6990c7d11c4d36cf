"""Members of a class in a file: where `.name` surely means the one of this class. What is not sure is left alone.

Sure are `this.name` and `self.name` inside the class, `Class.name` and `Class::name`, and members of a variable whose
declaration says its type (`let x: Class`, `new Class(…)`, `Class {…}`, `func (x *Class)`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from completion.refactor.scopes import Scopes, is_member, leaves
from completion.refactor.symbols import Place, places

if TYPE_CHECKING:
    from tree_sitter import Node

_OWN = frozenset({"this", "self", "Self", "super"})
_TYPE_NODES = frozenset({"type_identifier", "identifier"})


def spans(found: Scopes, place: Place, old: str, new: str) -> dict[tuple[int, int], str]:
    """Byte spans of the member's definitions and sure uses, with what each becomes."""
    parsed = found.parsed
    holder = place.symbol.name.rpartition(".")[0]
    own = holder.rpartition(".")[2]
    regions = _regions(found, place, own)
    definitions = {
        (parsed.byte(one.start), parsed.byte(one.end))
        for one in places(parsed.text, place.symbol.path)
        if one.symbol.name == place.symbol.name
    }
    made: dict[tuple[int, int], str] = {}
    for node in leaves(parsed.tree.root_node):
        if node.text != old.encode():
            continue
        span = (node.start_byte, node.end_byte)
        if span in definitions or (is_member(node) and _is_ours(found, node, own, regions)):
            made[span] = new
        elif _is_shorthand(node) and _fills(node, own, regions):
            made[span] = f"{new}: {old}"
    return made


def _is_shorthand(node: Node) -> bool:
    parent = node.parent
    return node.type == "shorthand_field_identifier" or (
        parent is not None and parent.type == "shorthand_field_initializer"
    )


def _fills(node: Node, own: str, regions: list[tuple[int, int]]) -> bool:
    """Whether a field name stands in a literal or pattern of the class, named so or `Self`."""
    said = _literal_type(node)
    return said == own or (said == "Self" and any(start <= node.start_byte < end for start, end in regions))


def _regions(found: Scopes, place: Place, own: str) -> list[tuple[int, int]]:
    """Bytes in which `this` or `self` is of the class: its body, and Rust's `impl` blocks of it."""
    regions = []
    waiting = [found.parsed.tree.root_node]
    while waiting:
        node = waiting.pop()
        waiting += node.named_children
        named = node.child_by_field_name("type" if node.type == "impl_item" else "name")
        if named is None or node.child_by_field_name("body") is None or "function" in node.type:
            continue
        if (named.text or b"").decode("utf-8", "replace").split("<")[0] == own and "method" not in node.type:
            regions.append((node.start_byte, node.end_byte))
    return regions


def _is_ours(found: Scopes, node: Node, own: str, regions: list[tuple[int, int]]) -> bool:
    parent = node.parent
    if parent is None:
        return False
    if parent.type in ("field_initializer", "field_pattern", "literal_element"):
        return _fills(node, own, regions)
    receiver = next((child for child in parent.children if child.id != node.id), None)
    if receiver is None or receiver.start_byte > node.start_byte:
        return False
    text = (receiver.text or b"").decode("utf-8", "replace")
    if text in _OWN:
        return any(start <= node.start_byte < end for start, end in regions)
    if text.split("<")[0] == own:
        return True
    if receiver.type not in ("identifier", "this"):
        return _said_type(receiver) == own
    binding = found.binding(receiver)
    return binding is not None and any(_said_type(one) == own for one in binding.names)


def _said_type(node: Node) -> str:
    """The type that the declaration around a name says, or the constructor that is called; "" where it says none."""
    one: Node | None = node
    if node.type in ("object_creation_expression", "new_expression"):
        named = node.child_by_field_name("type") or node.child_by_field_name("constructor")
        return "" if named is None else _name_in(named)
    for _ in range(4):
        one = one.parent if one is not None else None
        if one is None or one.type.endswith(("block", "program", "body", "source_file")):
            return ""
        said = one.child_by_field_name("type")
        if said is not None:
            return _name_in(said)
        value = one.child_by_field_name("value") or one.child_by_field_name("right")
        if value is not None:
            return _constructed(value)
    return ""


def _constructed(value: Node) -> str:
    if value.type == "expression_list" and len(value.named_children) == 1:
        value = value.named_children[0]
    if value.type in ("unary_expression", "reference_expression", "await_expression", "parenthesized_expression"):
        return _constructed(value.named_children[-1])
    if value.type in ("new_expression", "object_creation_expression", "composite_literal", "struct_expression"):
        for name in ("constructor", "type", "name"):
            if (held := value.child_by_field_name(name)) is not None:
                return _name_in(held)
    if value.type == "call_expression":
        called = value.child_by_field_name("function")
        path = None if called is None else called.child_by_field_name("path")
        last = "" if called is None else (called.text or b"").decode("utf-8", "replace").rpartition("::")[2]
        if path is not None and last in ("new", "default", "from", "with_capacity"):
            return _name_in(path)
    return ""


def _name_in(node: Node) -> str:
    """The one type in a type expression; generic arguments do not count, nor do several types."""
    if node.type in _TYPE_NODES:
        return (node.text or b"").decode("utf-8", "replace")
    if node.type in ("union_type", "intersection_type", "function_type", "array_type", "slice_type", "map_type"):
        return ""
    for child in node.named_children:
        if found := _name_in(child):
            return found
    return ""


def _literal_type(node: Node) -> str:
    """The type of the struct literal that a field name stands in."""
    one: Node | None = node
    while one is not None:
        if one.type in ("struct_expression", "composite_literal", "struct_pattern"):
            named = one.child_by_field_name("name") or one.child_by_field_name("type")
            return "" if named is None else _name_in(named)
        if one.type.endswith(("block", "body")):
            return ""
        one = one.parent
    return ""
