"""`inline`: rope for Python's variables, functions and methods; scopes for variables of other languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rope.refactor.inline import InlineParameter, create_inline

from completion.language import detect
from completion.refactor.calls import Inline
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.scopes import Binding, Scopes, leaves, scopes_of
from completion.refactor.symbols import Place
from completion.refactor.tools.modules import respell
from completion.refactor.tools.rename import find
from completion.refactor.tools.rope_project import mirror
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node

_DECLARATIONS = frozenset(
    {"lexical_declaration", "variable_declaration", "short_var_declaration", "local_variable_declaration",
     "let_declaration", "const_declaration", "var_declaration", "const_item"}
)  # fmt: skip
_CALLS = ("call_expression", "method_invocation", "new_expression", "object_creation_expression", "await_expression",
          "macro_invocation", "assignment_expression", "update_expression", "try_expression")  # fmt: skip
_CLOSED = frozenset(
    {"identifier", "number", "string", "template_string", "true", "false", "null", "call_expression", "array", "this",
     "member_expression", "method_invocation", "field_access", "selector_expression", "field_expression",
     "parenthesized_expression", "string_literal", "integer_literal", "decimal_integer_literal", "float_literal",
     "int_literal", "interpreted_string_literal", "subscript_expression", "index_expression", "array_access", "nil",
     "boolean_literal", "macro_invocation", "scoped_identifier", "raw_string_literal", "decimal_floating_point_literal"}
)  # fmt: skip


def inline(call: Inline, overlay: Overlay, *, prefer: str = "") -> Outcome:
    """Raises `RefusedError`: what is assigned twice, a parameter, or a value that would be computed more than once."""
    place, local = find(overlay, call.symbol, prefer=prefer)
    path = place.symbol.path
    language = detect(path=path).id
    mark = overlay.mark()
    if language != "python":
        overlay.write(path, _inline_elsewhere(overlay, place, language, local=local))
        return Outcome(changed=(path,))
    with mirror(overlay) as made:
        inliner = create_inline(made.project, made.file(path), place.start)
        if isinstance(inliner, InlineParameter):
            raise RefusedError(f"{call.symbol} is a parameter.", hint="change_signature removes parameters.")
        made.carry_over(inliner.get_changes())
    return Outcome(changed=overlay.changed_since(mark))


def _inline_elsewhere(overlay: Overlay, place: Place, language: str, *, local: bool) -> str:
    text = overlay.read(place.symbol.path)
    found = scopes_of(text, language)
    if found is None or (not local and place.symbol.kind != "constant"):
        raise RefusedError(f"Only variables can be inlined in {language}.", hint="Use edit for functions.")
    byte = found.parsed.byte(place.start)
    node = next(one for one in leaves(found.parsed.tree.root_node) if one.start_byte == byte)
    binding = found.binding(node)
    if binding is None or len(binding.names) != 1:
        raise RefusedError(f"{node_text(node)} is bound more than once.", hint="Only what is assigned once is inlined.")
    declaration, value = _declaration(binding.names[0])
    uses = [one for one in found.references(binding) if one.start_byte != binding.names[0].start_byte]
    _may_be_inlined(found, binding, value, uses)
    spans: dict[tuple[int, int], str] = {_whole_line(found.parsed.source, declaration): ""}
    for use in uses:
        shown = node_text(value)
        outer = use.parent
        if value.type not in _CLOSED and outer is not None and _binds_tighter(outer, use):
            shown = f"({shown})"
        if use.type == "shorthand_property_identifier":
            shown = f"{node_text(use)}: {shown}"
        spans[use.start_byte, use.end_byte] = shown
    return respell(text, spans)


def _declaration(name: Node) -> tuple[Node, Node]:
    """The statement that declares a name, and the value that it gives."""
    one: Node | None = name
    value: Node | None = None
    while one is not None and one.type not in _DECLARATIONS:
        value = value or one.child_by_field_name("value")
        one = one.parent
    if one is None:
        raise RefusedError(f"{node_text(name)} is no variable with a value.", hint="Only variables are inlined.")
    value = value or one.child_by_field_name("value") or one.child_by_field_name("right")
    if value is not None and value.type == "expression_list":
        value = value.named_children[0] if len(value.named_children) == 1 else None
    several = sum(child.type in ("variable_declarator", "const_spec", "var_spec") for child in one.named_children) > 1
    if value is None or several or (one.parent is not None and one.parent.type == "export_statement"):
        raise RefusedError(
            f"{node_text(name)} is not declared alone with a value of its own.", hint="Split the declaration first."
        )
    return one, value


def _may_be_inlined(found: Scopes, binding: Binding, value: Node, uses: list[Node]) -> None:
    if not uses:
        raise RefusedError(f"{binding.name} is not used.", hint="Remove it with edit.")
    for use in uses:
        above = use.parent
        left = None if above is None else (above.child_by_field_name("left") or above.child_by_field_name("argument"))
        changes = above is not None and ("assignment" in above.type or "update" in above.type or "inc_" in above.type)
        if changes and left is not None and left.start_byte <= use.start_byte < left.end_byte:
            raise RefusedError(f"{binding.name} is assigned again.", hint="Only what is assigned once is inlined.")
    acts = any(one.type in _CALLS for one in _all(value))
    if acts and len(uses) > 1:
        raise RefusedError(
            f"The value of {binding.name} would be computed {len(uses)} times.", hint="Keep it, or inline it by hand."
        )
    here = found.scope_at(value.start_byte)
    for name in leaves(value):
        meant = found.binding(name) if name.type == "identifier" else None
        for use in uses if meant is not None else []:
            scope = found.scope_at(use.start_byte)
            while scope is not here and scope.parent is not None:
                if node_text(name) in scope.bindings:
                    raise RefusedError(f"{node_text(name)} means something else where it would go.", hint="Rename it.")
                scope = scope.parent


def _binds_tighter(outer: Node, use: Node) -> bool:
    if outer.type in ("binary_expression", "unary_expression", "not_expression", "ternary_expression"):
        return True
    if "member" in outer.type or "selector" in outer.type or outer.type in ("field_expression", "field_access"):
        return True
    first = outer.named_children[0] if outer.named_children else None
    return outer.type in ("call_expression", "method_invocation", "subscript_expression") and (
        first is not None and first.id == use.id
    )


def _whole_line(source: bytes, node: Node) -> tuple[int, int]:
    """A statement with its line, where it has it for itself."""
    start, end = node.start_byte, node.end_byte
    first = source.rfind(b"\n", 0, start) + 1
    last = source.find(b"\n", end)
    last = len(source) if last < 0 else last + 1
    if not source[first:start].strip() and not source[end:last].strip(b"; \t\r\n"):
        return first, last
    return start, end


def _all(node: Node) -> list[Node]:
    found, waiting = [], [node]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += one.named_children
    return found


def node_text(node: Node) -> str:
    """What a node spells."""
    return (node.text or b"").decode("utf-8", "replace")
