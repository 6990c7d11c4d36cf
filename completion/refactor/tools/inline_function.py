"""Inlining Python functions with rope, made safe: rope pastes text, and knows neither precedence nor repeated work.

Before, the returned expression and the uses of parameters are marked; afterwards each mark becomes parentheses, or
nothing where the tree is the same without them. Calls that share a line are inlined one after another.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from rope.refactor.inline import InlineParameter, create_inline

from completion.refactor.overlay import Overlay
from completion.refactor.symbols import Place, resolve
from completion.refactor.tools.heirs import Spot
from completion.refactor.tools.occurrences import occurrences, unsure
from completion.refactor.tools.rope_project import mirror
from model.errors import RefusedError

_MARK = "_tersely_held_"
_MARKED = re.compile(rf"\b{_MARK}\(")
_MOST_CALLS = 100
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def inline_function(overlay: Overlay, place: Place, *, symbol: str) -> None:
    """Raises `RefusedError`: a parameter, a function that does more than return where its value is used, …"""
    path = place.symbol.path
    text = overlay.read(path)
    definition = _definition(text, place)
    spots = occurrences(overlay, place)
    if unknown := unsure(overlay, place):
        raise RefusedError(f"{unknown[0]} may call it too.", hint="Annotate what it is called on, or change that call.")
    calls = [(file, call) for file, held in spots.items() for call in _calls(overlay.read(file), held)]
    if len(calls) > _MOST_CALLS:
        raise RefusedError(f"{symbol} is called {len(calls)} times.", hint="Inline the calls that matter by hand.")
    for _, call in calls:
        _computed_once(definition, call, symbol)
    body = [one for one in definition.body if not _is_docstring(one)]
    if not (len(body) == 1 and isinstance(body[0], ast.Return)):
        for file, call in calls:
            _stands_alone(overlay.read(file), call, file)
    overlay.write(path, _marked(text, definition))
    crowded = len({(file, call.lineno) for file, call in calls}) < len(calls)
    for _ in range(len(calls) - 1 if crowded else 0):
        _inline(overlay, _first_call(overlay, place), one=True)
    _inline(overlay, _again(overlay, place), one=False)
    for file in overlay.paths(language="python"):
        if _MARK in overlay.read(file):
            overlay.write(file, unheld(overlay.read(file)))


def _inline(overlay: Overlay, at: tuple[str, int], *, one: bool) -> None:
    with mirror(overlay) as made:
        inliner = create_inline(made.project, made.file(at[0]), at[1])
        if isinstance(inliner, InlineParameter):
            raise RefusedError("It is a parameter.", hint="change_signature removes parameters.")
        made.carry_over(inliner.get_changes(remove=False, only_current=True) if one else inliner.get_changes())


def _again(overlay: Overlay, place: Place) -> tuple[str, int]:
    found = resolve(overlay, f"{place.symbol.path}::{place.symbol.name}")
    return found.symbol.path, found.start


def _first_call(overlay: Overlay, place: Place) -> tuple[str, int]:
    now = resolve(overlay, f"{place.symbol.path}::{place.symbol.name}")
    for file, held in sorted(occurrences(overlay, now).items()):
        text = overlay.read(file)
        for call in _calls(text, held):
            line, byte = _name_at(call)
            starts = text.split("\n")
            before = sum(len(row) + 1 for row in starts[: line - 1])
            return file, before + len(starts[line - 1].encode()[:byte].decode())
    raise RefusedError(
        f"The calls of {place.symbol.name} cannot be told apart.", hint="Put them on lines of their own."
    )


def _marked(text: str, definition: _Function) -> str:
    """The text with marks around returned expressions and around the uses of parameters."""
    names = {one.arg for one in [*definition.args.posonlyargs, *definition.args.args, *definition.args.kwonlyargs]}
    names -= {"self", "cls"}
    spans: list[tuple[int, int]] = []
    for node in _own(definition):
        if (
            isinstance(node, ast.Return)
            and node.value is not None
            and not isinstance(node.value, ast.Name | ast.Constant)
        ):
            spans.append(_span(text, node.value))
        elif isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
            spans.append(_span(text, node))
    edits = sorted([(start, 1) for start, _ in spans] + [(end, 0) for _, end in spans], reverse=True)
    for at, opens in edits:
        text = text[:at] + (f"{_MARK}(" if opens else ")") + text[at:]
    return text


def held(text: str) -> str:
    """An expression in a mark, for `unheld`."""
    return f"{_MARK}({text})"


def unheld(text: str) -> str:
    """Each mark becomes parentheses, or nothing where that parses to the same."""
    while (match := next(reversed(list(_MARKED.finditer(text))), None)) is not None:
        start, opening = match.start(), match.end() - 1
        end = _closing(text, opening)
        held = text[:start] + text[opening:]
        end -= opening - start
        bare = held[:start] + held[start + 1 : end] + held[end + 1 :]
        text = bare if _same(held, bare) else held
    return text


def _same(left: str, right: str) -> bool:
    """Two texts with the same tree. A rest of marks counts as calls in both."""
    try:
        return ast.dump(ast.parse(left)) == ast.dump(ast.parse(right))
    except SyntaxError:
        return False


def _closing(text: str, opening: int) -> int:
    """The parenthesis that closes the one at `opening`, strings passed over: found by parsing ever more."""
    for match in re.finditer(r"\)", text[opening:]):
        end = opening + match.end()
        try:
            ast.parse(text[opening:end].strip(), mode="eval")
        except SyntaxError:
            continue
        return end - 1
    raise RefusedError("Rope left a text that does not parse.", hint="Inline it by hand.")


def _computed_once(definition: _Function, call: ast.Call, symbol: str) -> None:
    """An argument that does something may stand for one use alone."""
    positional = [one.arg for one in [*definition.args.posonlyargs, *definition.args.args]]
    if positional[:1] in (["self"], ["cls"]):
        positional = positional[1:]
    given = [*zip(positional, call.args, strict=False), *((one.arg or "", one.value) for one in call.keywords)]
    for name, value in given:
        acts = any(isinstance(one, ast.Call | ast.Await | ast.Yield | ast.NamedExpr) for one in ast.walk(value))
        uses = sum(isinstance(one, ast.Name) and one.id == name for one in _own(definition))
        if acts and uses != 1:
            raise RefusedError(
                f"A call of {symbol} passes {ast.unparse(value)!r}, which would be computed {uses} times.",
                hint="Give it a name before the call.",
            )


def _stands_alone(text: str, call: ast.Call, path: str) -> None:
    """A function of several statements can go where the whole statement is its call, or takes its value."""
    for node in ast.walk(ast.parse(text)):
        value = getattr(node, "value", None)
        if not isinstance(node, ast.Expr | ast.Assign | ast.Return | ast.AnnAssign):
            continue
        if isinstance(value, ast.Call) and (value.lineno, value.col_offset) == (call.lineno, call.col_offset):
            return
    raise RefusedError(
        f"{path}:{call.lineno} uses the value within an expression.", hint="Give the value a name there first."
    )


def _definition(text: str, place: Place) -> _Function:
    line = text.count("\n", 0, place.start) + 1
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise RefusedError(f"{place.symbol.path} has syntax errors.", hint="Repair it first.") from error
    for node in ast.walk(tree):
        if isinstance(node, _Function) and node.lineno == line:
            if any(isinstance(one, ast.Name) and one.id == node.name for one in _own(node)):
                raise RefusedError(f"{node.name} calls itself.", hint="Such a function cannot be inlined.")
            return node
    raise RefusedError(f"{place.symbol.name} is no function.", hint="Name a function or method.")


def _calls(text: str, spots: set[Spot]) -> Iterator[ast.Call]:
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            line, byte = _name_at(node)
            if (line, len(lines[line - 1].encode()[:byte].decode("utf-8", "replace"))) in spots:
                yield node


def _name_at(call: ast.Call) -> tuple[int, int]:
    func = call.func
    assert isinstance(func, ast.Name | ast.Attribute)
    if isinstance(func, ast.Name):
        return func.lineno, func.col_offset
    return func.end_lineno or func.lineno, (func.end_col_offset or 0) - len(func.attr.encode())


def _own(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        yield from _own(child)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _span(text: str, node: ast.expr) -> tuple[int, int]:
    lines = text.split("\n")

    def at(line: int, byte: int) -> int:
        return sum(len(row) + 1 for row in lines[: line - 1]) + len(lines[line - 1].encode()[:byte].decode())

    return at(node.lineno, node.col_offset), at(node.end_lineno or 0, node.end_col_offset or 0)
