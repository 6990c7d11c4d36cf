"""`inline`: variables by scopes in every language, Python's functions, methods and constants by rope, made safe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rope.refactor.inline import create_inline

from completion.language import detect
from completion.refactor.calls import Inline
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Mark, Overlay
from completion.refactor.scopes import Binding, Scopes, leaves, scopes_of
from completion.refactor.symbols import Place
from completion.refactor.tools.blank_lines import tidy
from completion.refactor.tools.inline_function import held, inline_function, unheld
from completion.refactor.tools.modules import respell
from completion.refactor.tools.rename import find
from completion.refactor.tools.rope_project import mirror
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DECLARATIONS = _words(
    """lexical_declaration variable_declaration short_var_declaration local_variable_declaration let_declaration
    const_declaration var_declaration const_item expression_statement"""
)
_LOOSE = _words(
    """argument_list arguments return_statement assignment variable_declarator let_declaration expression_statement list
    tuple array parenthesized_expression expression_list keyword_argument pair interpolation template_substitution
    short_var_declaration assignment_expression field_initializer return_expression set element_value_array_initializer
    token_tree"""
)
"""What holds an expression so that no operator of its own can part it."""
_OPEN = _words("expression_list yield named_expression lambda arrow_function list_splat")
_ROUNDS = _words(
    """for_statement while_statement lambda function_definition for_in_statement arrow_function do_statement
    while_expression for_expression loop_expression closure_expression func_literal lambda_expression
    enhanced_for_statement function_declaration function_expression list_comprehension generator_expression
    set_comprehension dictionary_comprehension"""
)
_CALLS = _words(
    """call await yield named_expression call_expression method_invocation new_expression object_creation_expression
    await_expression macro_invocation assignment_expression update_expression try_expression"""
)
_CLOSED = _words(
    """identifier number integer float attribute subscript call list dictionary set none tuple list_comprehension
    dictionary_comprehension string template_string true false null call_expression array this member_expression
    method_invocation field_access selector_expression field_expression parenthesized_expression string_literal
    integer_literal decimal_integer_literal float_literal int_literal interpreted_string_literal subscript_expression
    index_expression array_access nil boolean_literal macro_invocation scoped_identifier raw_string_literal
    decimal_floating_point_literal"""
)


def inline(call: Inline, overlay: Overlay, *, prefer: str = "") -> Outcome:
    """Raises `RefusedError`: what is assigned twice, a parameter, or a value that would be computed more than once."""
    place, local = find(overlay, call.symbol, prefer=prefer)
    path = place.symbol.path
    language = detect(path=path).id
    mark = overlay.mark()
    if language != "python" or (local and place.symbol.kind == "variable"):
        overlay.write(path, _inline_here(overlay, place, language, local=local))
    elif place.symbol.kind in ("function", "method"):
        inline_function(overlay, place, symbol=call.symbol)
        _tidied(overlay, mark)
    elif place.symbol.kind == "constant":
        if _known_elsewhere(overlay, place):
            _inline_constant(overlay, place)
        else:
            overlay.write(path, _inline_here(overlay, place, language, local=local).lstrip("\n"))
    else:
        raise RefusedError(f"{call.symbol} is no variable or function.", hint="Only these are inlined.")
    return Outcome(changed=overlay.changed_since(mark))


def _tidied(overlay: Overlay, mark: Mark) -> None:
    for path in overlay.changed_since(mark):
        before = overlay.text_at(mark, path) or ""
        overlay.write(path, tidy(before, overlay.read(path)))


def _known_elsewhere(overlay: Overlay, place: Place) -> bool:
    """Whether another Python file has the name as a word."""
    name = re.compile(rf"(?<!\w){re.escape(place.symbol.name)}(?!\w)")
    others = (path for path in overlay.paths(language="python") if path != place.symbol.path)
    return any(name.search(overlay.read(path)) for path in others)


def _inline_constant(overlay: Overlay, place: Place) -> None:
    """Rope knows the files that import it; in parentheses the value keeps its meaning wherever it goes."""
    path, text = place.symbol.path, overlay.read(place.symbol.path)
    found = scopes_of(text, "python")
    assert found is not None
    node = next(one for one in leaves(found.parsed.tree.root_node) if one.start_byte == found.parsed.byte(place.start))
    binding = found.binding(node)
    if binding is None or len(binding.names) != 1:
        raise RefusedError(f"{node_text(node)} is bound more than once.", hint="Only what is assigned once is inlined.")
    _, value = _declaration(binding.names[0])
    if any(one.type in _CALLS for one in _all(value)):
        raise RefusedError(f"The value of {node_text(node)} is computed by a call.", hint="Keep it.")
    if value.type not in _CLOSED:
        overlay.write(path, respell(text, {(value.start_byte, value.end_byte): f"({node_text(value)})"}))
    with mirror(overlay) as made:
        made.carry_over(create_inline(made.project, made.file(path), place.start).get_changes())
    if not text.startswith("\n"):
        overlay.write(path, overlay.read(path).lstrip("\n"))


def _inline_here(overlay: Overlay, place: Place, language: str, *, local: bool) -> str:
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
        if language == "python":
            spans[use.start_byte, use.end_byte] = held(shown)
            continue
        if value.type not in _CLOSED and outer is not None and (value.type in _OPEN or outer.type not in _LOOSE):
            shown = f"({shown})"
        if use.type == "shorthand_property_identifier":
            shown = f"{node_text(use)}: {shown}"
        spans[use.start_byte, use.end_byte] = shown
    changed = respell(text, spans)
    return unheld(changed) if language == "python" else changed


def _declaration(name: Node) -> tuple[Node, Node]:
    """The statement that declares a name, and the value that it gives."""
    one: Node | None = name
    value: Node | None = None
    while one is not None and one.type not in _DECLARATIONS:
        if (
            "pattern" in one.type
            or one.type == "augmented_assignment"
            or (len(one.named_children) > 1 and (one.type == "expression_list"))
        ):
            raise RefusedError(f"{node_text(name)} is but a part of what is assigned.", hint="Split the assignment.")
        value = value or one.child_by_field_name("value") or one.child_by_field_name("right")
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
    rounds = [use for use in uses if _in_rounds(use, value)]
    if acts and (len(uses) > 1 or rounds):
        raise RefusedError(
            f"The value of {binding.name} would be computed more than once.", hint="Keep it, or inline it by hand."
        )
    in_text = any(use.parent is not None and use.parent.type == "interpolation" for use in uses)
    if in_text and re.search(r"[\"'{}\\]", node_text(value)):
        raise RefusedError("The value cannot stand in an f-string.", hint="Keep the variable.")
    here = found.scope_at(value.start_byte)
    for name in leaves(value):
        meant = found.binding(name) if name.type == "identifier" else None
        later = [] if meant is None else [one for one in meant.names if one.start_byte > value.end_byte]
        if any(one.start_byte < use.start_byte or _in_rounds(use, value) for one in later for use in uses):
            raise RefusedError(f"{node_text(name)} changes before the value is used.", hint="Keep the variable.")
        for use in uses if meant is not None else []:
            scope = found.scope_at(use.start_byte)
            while scope is not here and scope.parent is not None:
                if node_text(name) in scope.bindings:
                    raise RefusedError(f"{node_text(name)} means something else where it would go.", hint="Rename it.")
                scope = scope.parent


def _in_rounds(use: Node, value: Node) -> bool:
    """Whether a use is computed again and again, or later, where the value was computed once."""
    above = use.parent
    while above is not None and not (above.start_byte <= value.start_byte and value.end_byte <= above.end_byte):
        if above.type in _ROUNDS:
            return True
        above = above.parent
    return False


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
