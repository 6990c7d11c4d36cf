"""`extract_function` (rope, so Python) and `extract_variable` (rope, or the tree in other languages)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from rope.refactor.extract import ExtractMethod
from rope.refactor.extract import ExtractVariable as RopeExtractVariable

from completion.language import detect
from completion.refactor.calls import ExtractFunction, ExtractVariable
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.scopes import scopes_of
from completion.refactor.symbols import parse
from completion.refactor.tools.blank_lines import tidy
from completion.refactor.tools.rope_project import mirror
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node

_DECLARED = {
    "javascript": "const {name} = {value};",
    "typescript": "const {name} = {value};",
    "typescriptreact": "const {name} = {value};",
    "go": "{name} := {value}",
    "java": "var {name} = {value};",
    "rust": "let {name} = {value};",
}
_BLOCKS = frozenset(
    {"statement_block", "block", "statement_list", "program", "source_file", "constructor_body", "switch_block"}
)
_LATE = ("arrow_function", "lambda_expression", "closure_expression", "function_expression", "func_literal")
_LOOPS = ("while_statement", "do_statement", "for_statement", "while_expression", "for_in_statement")


def extract_function(call: ExtractFunction, overlay: Overlay) -> Outcome:
    """Raises `RefusedError`: not Python, or lines that are no whole statements of one function."""
    text = overlay.read(call.path)
    if detect(path=call.path).id != "python":
        raise RefusedError("Functions can be extracted in Python alone.", hint="Use edit, or extract_variable.")
    lines = text.split("\n")
    if not 1 <= call.first_line <= call.last_line <= len(lines):
        raise RefusedError(
            f"{call.path} has no lines {call.first_line} to {call.last_line}.", hint=f"It has {len(lines)} lines."
        )
    first, last = call.first_line - 1, call.last_line - 1
    while first < last and (not lines[first].strip() or lines[first].lstrip().startswith("#")):
        first += 1
    while last > first and not lines[last].strip():
        last -= 1
    starts = _starts(lines)
    start = starts[first] + len(lines[first]) - len(lines[first].lstrip())
    end = starts[last] + len(lines[last].rstrip())
    _name_is_free(text, call.new_name, "python", start)
    with mirror(overlay) as made:
        extractor = ExtractMethod(made.project, made.file(call.path), start, end)
        made.carry_over(extractor.get_changes(call.new_name))
    overlay.write(call.path, tidy(text, overlay.read(call.path)))
    return Outcome(changed=(call.path,))


def extract_variable(call: ExtractVariable, overlay: Overlay) -> Outcome:
    """Raises `RefusedError`: no such expression on the line, or a place where it cannot be computed before."""
    text = overlay.read(call.path)
    language = detect(path=call.path).id
    start = _find(text, call)
    end = start + len(call.expression.strip())
    _name_is_free(text, call.new_name, language, start)
    if language != "python":
        overlay.write(call.path, _extract_elsewhere(text, start, end, call.new_name, language))
        return Outcome(changed=(call.path,))
    _computed_before(text, start, end)
    with mirror(overlay) as made:
        extractor = RopeExtractVariable(made.project, made.file(call.path), start, end)
        made.carry_over(extractor.get_changes(call.new_name))
    return Outcome(changed=(call.path,))


def _find(text: str, call: ExtractVariable) -> int:
    lines = text.split("\n")
    if call.line > len(lines):
        raise RefusedError(f"{call.path} has no line {call.line}.", hint=f"It has {len(lines)} lines.")
    line_start = _starts(lines)[call.line - 1]
    wanted = call.expression.strip()
    whole = re.compile(rf"(?<![\w.]){re.escape(wanted)}(?!\w)" if wanted[:1].isalnum() else re.escape(wanted))
    for match in whole.finditer(text, line_start):
        if match.start() <= line_start + len(lines[call.line - 1]):
            return match.start()
        break
    raise RefusedError(f"Line {call.line} has no {wanted!r}.", hint="Give the expression exactly as it stands there.")


def _computed_before(text: str, start: int, end: int) -> None:
    """Raises where the text is no whole Python expression, or is not computed once when its statement begins."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise RefusedError("The file has syntax errors.", hint="Repair it first.") from error
    starts = _starts(text.split("\n"))
    lines = text.split("\n")

    def spans(node: ast.AST) -> bool:
        if not isinstance(node, ast.expr) or node.end_lineno is None or node.end_col_offset is None:
            return False
        first = starts[node.lineno - 1] + len(lines[node.lineno - 1].encode()[: node.col_offset].decode())
        last = starts[node.end_lineno - 1] + len(lines[node.end_lineno - 1].encode()[: node.end_col_offset].decode())
        return (first, last) == (start, end) or text[start:end] == f"({text[first:last]})"

    chain = _chain(tree, spans)
    if chain is None:
        raise RefusedError(f"{text[start:end]!r} is no whole expression.", hint="Choose the whole of it.")
    acts = any(isinstance(one, ast.Call | ast.Subscript | ast.Attribute | ast.BinOp) for one in ast.walk(chain[-1]))
    for above, below in pairwise(chain):
        late = isinstance(above, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.While)
        if late and not (isinstance(above, ast.While) and below in [*above.body, *above.orelse]):
            raise RefusedError("The expression is computed later, or more than once.", hint="Choose another one.")
        sometimes = (isinstance(above, ast.BoolOp) and below is not above.values[0]) or (
            isinstance(above, ast.IfExp) and below is not above.test
        )
        if sometimes and acts:
            raise RefusedError("The expression is computed only sometimes.", hint="Choose the whole condition.")


def _chain(node: ast.AST, found: Callable[[ast.AST], bool]) -> list[ast.AST] | None:
    """The nodes from the tree's root down to the one that is sought."""
    if found(node):
        return [node]
    for child in ast.iter_child_nodes(node):
        if (below := _chain(child, found)) is not None:
            return [node, *below]
    return None


def _extract_elsewhere(text: str, start: int, end: int, name: str, language: str) -> str:
    parsed = parse(text, language)
    if parsed is None or language not in _DECLARED:
        raise RefusedError(f"Variables cannot be extracted in {language}.", hint="Use edit.")
    first, last = parsed.byte(start), parsed.byte(end)
    node = parsed.tree.root_node.named_descendant_for_byte_range(first, last)
    if node is None or (node.start_byte, node.end_byte) != (first, last):
        raise RefusedError(f"{text[start:end]!r} is no whole expression.", hint="Choose the whole of it.")
    statement = _statement(node)
    at = parsed.offset(statement.start_byte)
    line_start = text.rfind("\n", 0, at) + 1
    indent = text[line_start:at]
    if indent.strip():
        raise RefusedError("The statement does not begin its line.", hint="Put it on a line of its own first.")
    declared = _DECLARED[language].format(name=name, value=text[start:end])
    if statement.type == "expression_statement" and node.parent is not None and node.parent.id == statement.id:
        return text[:at] + declared + text[parsed.offset(statement.end_byte) :]
    return text[:at] + declared + "\n" + indent + text[at:start] + name + text[end:]


def _statement(node: Node) -> Node:
    """The statement before which the expression can be computed."""
    one = node
    while one.parent is not None and one.parent.type not in _BLOCKS:
        above = one.parent
        if above.type in _LATE:
            raise RefusedError("The expression is computed later, in a function.", hint="Give that a body in braces.")
        if above.type in _LOOPS:
            raise RefusedError("The expression is computed in each round of a loop.", hint="Choose one in its body.")
        if (
            above.type.endswith(("_clause", "class_body", "field_declaration", "else_clause"))
            and "if" not in above.type
        ):
            raise RefusedError("There is no statement before which it can be computed.", hint="Use edit.")
        one = above
    if one.parent is None:
        raise RefusedError("There is no statement around the expression.", hint="Use edit.")
    if one.type in _LOOPS:
        raise RefusedError("The expression is computed in each round of a loop.", hint="Choose one in its body.")
    return one


def _name_is_free(text: str, name: str, language: str, offset: int) -> None:
    found = scopes_of(text, language)
    if found is None:
        return
    scope = found.scope_at(found.parsed.byte(offset))
    seen: list[str] = []
    while scope is not None:
        seen += scope.bindings
        if scope.parent is None:
            break
        scope = scope.parent
    if name in seen:
        raise RefusedError(f"{name} means something there already.", hint="Choose another name.")


def _starts(lines: list[str]) -> list[int]:
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    return starts
