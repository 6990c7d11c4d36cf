"""`change_signature`: a Python function's parameters, and the calls that rope finds, overriding methods included.

The rewriting is done on LibCST trees, so that comments, annotations and line breaks stay. A new parameter gets its
default in the definition where the language allows it, and callers stay as they are; else each caller passes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from completion.refactor.calls import ChangeKind, ChangeSignature, ParameterChange, Rename
from completion.refactor.outcome import Extra, Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.symbols import Place, is_special, resolve
from completion.refactor.tools.heirs import Spot
from completion.refactor.tools.occurrences import is_constructor, occurrences, unsure
from completion.refactor.tools.parameters import Parameter, parameters_of, with_commas, with_parameters
from completion.refactor.tools.rename import rename
from model.errors import RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """From old parameters to new ones. `passed`: what callers pass for a new parameter, if they must."""

    old: tuple[Parameter, ...]
    new: tuple[Parameter, ...]
    passed: dict[str, str]
    bound: bool
    holder: str


def change_signature(call: ChangeSignature, overlay: Overlay, *, prefer: str = "") -> Outcome:
    """Raises `RefusedError`: no function of Python, a parameter that is not there or is used, calls with `*args`."""
    mark = overlay.mark()
    extras: list[Extra] = []
    place = resolve(overlay, call.symbol, prefer=prefer)
    for change in call.changes:
        place = resolve(overlay, call.symbol, prefer=prefer)
        if place.symbol.kind not in ("function", "method", "class") or not place.symbol.path.endswith(".py"):
            raise RefusedError(f"{call.symbol} is no Python function.", hint="Signatures are changed in Python alone.")
        if place.symbol.kind == "class":
            place = resolve(overlay, f"{place.symbol.path}::{place.symbol.name}.__init__")
        if change.change is ChangeKind.RENAME:
            extras += _rename(change, place, overlay)
        else:
            _change(change, place, overlay)
    special = is_special(place.symbol.name.rpartition(".")[2])  # every class has those: all would be named
    asked = place.symbol.kind == "method" and (is_constructor(place) or not special)
    unknown = unsure(overlay, place) if asked else []
    notes = [f"Calls that may mean it too: {', '.join(unknown[:5])}."] if unknown else []
    return Outcome(changed=overlay.changed_since(mark), extras=tuple(extras), notes=tuple(notes))


def _rename(change: ParameterChange, place: Place, overlay: Overlay) -> Sequence[Extra]:
    if not isinstance(change.new_name, str):
        raise RefusedError(f"{change.parameter} needs a new name.", hint="Give new_name.")
    _position(parameters_of(_definition(overlay, place).params), change.parameter)
    symbol = f"{place.symbol.path}::{place.symbol.name}.{change.parameter}"
    return rename(Rename(symbol=symbol, new_name=change.new_name), overlay).extras


def _change(change: ParameterChange, place: Place, overlay: Overlay) -> None:
    spots = occurrences(overlay, place)
    definition = _definition(overlay, place)
    plan = _planned(change, definition, place)
    for path, held in spots.items():
        text = overlay.read(path)
        try:
            wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        except cst.ParserSyntaxError as error:
            raise RefusedError(f"{path} has syntax errors.", hint="Repair it first.") from error
        rewriter = _Rewriter(change, plan, held, path, place.symbol.name.rpartition(".")[2])
        changed = wrapper.visit(rewriter).code
        if changed != text:
            overlay.write(path, changed)


def _planned(change: ParameterChange, definition: cst.FunctionDef, place: Place) -> _Plan:
    old = parameters_of(definition.params)
    holder = place.symbol.name.rpartition(".")[0]
    static = any(isinstance(one.decorator, cst.Name) and one.decorator.value == "staticmethod"
                 for one in definition.decorators)  # fmt: skip
    bound = place.symbol.kind == "method" and not static and bool(old)
    new, passed = _apply(change, old, bound=bound, definition=definition)
    return _Plan(old=tuple(old), new=tuple(new), passed=passed, bound=bound, holder=holder.rpartition(".")[2])


def _apply(
    change: ParameterChange, old: list[Parameter], *, bound: bool, definition: cst.FunctionDef | None
) -> tuple[list[Parameter], dict[str, str]]:
    """The new parameters. `definition`: where given, its body must not use a parameter that goes."""
    new: list[Parameter] = list(old)
    passed: dict[str, str] = {}
    if change.change is ChangeKind.ADD:
        return _added(change, old, bound=bound)
    index = _position(old, change.parameter)
    if change.change is ChangeKind.REMOVE:
        if definition is not None and _uses(definition, change.parameter):
            raise RefusedError(f"{change.parameter} is used in the body.", hint="Remove its uses first.")
        del new[index]
    elif change.change is ChangeKind.DEFAULT:
        new[index] = replace(
            new[index], node=new[index].node.with_changes(default=_default(change), equal=_equal(old[index]))
        )
    elif change.change is ChangeKind.MOVE:
        if change.position is None or not isinstance(change.position, int):
            raise RefusedError(f"{change.parameter} needs a position.", hint="0 is the first after self.")
        moved = new.pop(index)
        if moved.kind in ("star", "stars"):
            raise RefusedError(f"*{change.parameter} cannot be moved.", hint="It stands where the language has it.")
        at = change.position + bound
        limit = sum(one.kind in ("only", "both") for one in new) if moved.kind != "key" else len(new)
        if at > limit or (moved.kind == "key" and at < _first_word(new)):
            raise RefusedError(f"{change.parameter} cannot stand at {change.position}.", hint="Choose another place.")
        new.insert(at, moved)
    _defaults_come_last(new)
    return new, passed


def _added(change: ParameterChange, old: list[Parameter], *, bound: bool) -> tuple[list[Parameter], dict[str, str]]:
    if any(one.name == change.parameter for one in old):
        raise RefusedError(f"There is a {change.parameter} already.", hint="Choose another name.")
    if not isinstance(change.default, str):
        raise RefusedError(f"It is not said what callers pass for {change.parameter}.", hint="Give default.")
    default = _default(change)
    count = sum(one.kind in ("only", "both") for one in old)
    at = count if not isinstance(change.position, int) else change.position + bound
    param = cst.Param(cst.Name(change.parameter))
    if at > count:
        words = [number for number, one in enumerate(old) if one.kind in ("star", "key")]
        if not words or at > len(old):
            at = count
    kind = "both" if at <= count else "key"
    behind = [one for one in old[at:] if one.kind in ("only", "both")]
    if kind == "key" or all(one.node.default is not None for one in behind):
        node = param.with_changes(default=default, equal=_spaceless())
        return [*old[:at], Parameter(kind, node), *old[at:]], {}
    new = [*old[:at], Parameter(kind, param), *old[at:]]
    _defaults_come_last(new)
    return new, {change.parameter: change.default}


def _default(change: ParameterChange) -> cst.BaseExpression:
    if not isinstance(change.default, str):
        raise RefusedError(f"{change.parameter} needs a default.", hint="Give default, an expression.")
    try:
        return cst.parse_expression(change.default)
    except cst.ParserSyntaxError as error:
        raise RefusedError(f"{change.default!r} is no expression.", hint="Give a Python expression.") from error


def _spaceless() -> cst.AssignEqual:
    return cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def _equal(one: Parameter) -> cst.AssignEqual:
    return cst.AssignEqual() if one.node.annotation is not None else _spaceless()


def _position(parameters: Sequence[Parameter], name: str) -> int:
    for index, one in enumerate(parameters):
        if one.name == name:
            return index
    known = ", ".join(one.name for one in parameters)
    raise RefusedError(f"There is no parameter {name}.", hint=f"It has {known or 'none'}.")


def _first_word(parameters: Sequence[Parameter]) -> int:
    return next((index for index, one in enumerate(parameters) if one.kind == "key"), len(parameters))


def _defaults_come_last(parameters: Sequence[Parameter]) -> None:
    seen = False
    for one in parameters:
        if one.kind not in ("only", "both"):
            continue
        if seen and one.node.default is None:
            raise RefusedError(f"{one.name} has no default, and would stand behind one.", hint="Give it one too.")
        seen = seen or one.node.default is not None


def _uses(definition: cst.FunctionDef, name: str) -> bool:
    class Finder(cst.CSTVisitor):
        def __init__(self) -> None:
            self.found = False

        def visit_Name(self, node: cst.Name) -> None:
            self.found = self.found or node.value == name

        def visit_Attribute(self, node: cst.Attribute) -> bool:
            node.value.visit(self)
            return False

        def visit_Arg(self, node: cst.Arg) -> bool:
            node.value.visit(self)
            return False

    finder = Finder()
    definition.body.visit(finder)
    return finder.found


def _definition(overlay: Overlay, place: Place) -> cst.FunctionDef:
    text = overlay.read(place.symbol.path)
    line = text.count("\n", 0, place.start) + 1
    column = place.start - (text.rfind("\n", 0, place.start) + 1)
    try:
        wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    except cst.ParserSyntaxError as error:
        raise RefusedError(f"{place.symbol.path} has syntax errors.", hint="Repair it first.") from error
    positions = wrapper.resolve(PositionProvider)
    for node, found in positions.items():
        if isinstance(node, cst.FunctionDef):
            named = positions[node.name].start
            if (named.line, named.column) == (line, column):
                return node
        del found
    raise RefusedError(f"{place.symbol.name} is no function.", hint="Name a function or method.")


class _Rewriter(cst.CSTTransformer):
    """Rewrites definitions and calls at given spots."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, change: ParameterChange, plan: _Plan, spots: set[Spot], path: str, name: str) -> None:
        super().__init__()
        self._change, self._plan, self._spots, self._path, self._name = change, plan, spots, path, name

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """A definition: the one that was named, or one that overrides it."""
        if not self._is_here(original_node.name):
            return updated_node
        own = parameters_of(updated_node.params)
        new, _ = _apply(self._change, own, bound=self._plan.bound, definition=original_node)
        return updated_node.with_changes(params=with_parameters(updated_node.params, new))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """A call: its arguments follow."""
        called = original_node.func
        name = called.attr if isinstance(called, cst.Attribute) else called
        if not isinstance(name, cst.Name) or not self._is_here(name):
            return updated_node
        implicit = self._plan.bound and not self._unbound(called)
        return updated_node.with_changes(args=self._arguments(updated_node.args, implicit, original_node))

    def _is_here(self, node: cst.Name) -> bool:
        start = self.get_metadata(PositionProvider, node).start
        return (start.line, start.column) in self._spots

    def _unbound(self, called: cst.BaseExpression) -> bool:
        """`Class.method(object, …)`, unless it is the class itself that is called."""
        if not isinstance(called, cst.Attribute) or called.attr.value != self._name:
            return False
        value = called.value
        last = value.attr if isinstance(value, cst.Attribute) else value
        return isinstance(last, cst.Name) and last.value == self._plan.holder

    def _arguments(self, args: Sequence[cst.Arg], implicit: bool, node: cst.Call) -> list[cst.Arg]:
        old = self._plan.old[int(implicit) :]
        new = self._plan.new[int(implicit) :]
        if [one.name for one in old] == [one.name for one in new]:
            return list(args)
        given, rest = self._matched(args, old, node)
        names = {one.name for one in new}
        made: list[cst.Arg] = []
        in_order = True
        for one in new:
            if one.kind not in ("only", "both"):
                continue
            arg = given.get(one.name) or self._passed(one.name)
            if arg is None:
                in_order = False
            elif arg.keyword is None:
                if not in_order and one.kind == "only":
                    raise RefusedError(f"A call in {self._path} cannot be kept.", hint="Change it by hand first.")
                made.append(arg if in_order else _worded(arg, one.name))
            else:
                in_order = False
        if rest and not in_order and any(one.keyword is None and not one.star for one in rest):
            raise RefusedError(f"A call in {self._path} passes more than it can keep.", hint="Change it by hand first.")
        made += [one for one in rest if one.keyword is None and one.star != "**"]
        made += [arg for name, arg in given.items() if arg.keyword is not None and name in names]
        made += [arg for one in new if one.kind == "key" and (arg := self._passed(one.name, word=True)) is not None]
        made += [one for one in rest if one.keyword is not None or one.star == "**"]
        return with_commas(made, args)

    def _passed(self, name: str, *, word: bool = False) -> cst.Arg | None:
        value = self._plan.passed.get(name)
        if value is None:
            return None
        arg = cst.Arg(cst.parse_expression(value))
        return _worded(arg, name) if word else arg

    def _matched(
        self, args: Sequence[cst.Arg], old: Sequence[Parameter], node: cst.Call
    ) -> tuple[dict[str, cst.Arg], list[cst.Arg]]:
        """Arguments by parameter, and those that no single parameter takes."""
        positional = [one for one in old if one.kind in ("only", "both")]
        given: dict[str, cst.Arg] = {}
        rest: list[cst.Arg] = []
        words = {one.name for one in old if one.kind in ("both", "key")}
        for arg in args:
            if arg.star:
                if self._change.change is not ChangeKind.ADD or self._plan.passed:
                    line = self.get_metadata(PositionProvider, node).start.line
                    raise RefusedError(f"{self._path}:{line} calls it with {arg.star}.", hint="Change that call first.")
                rest.append(arg)
            elif arg.keyword is not None and arg.keyword.value in words:
                given[arg.keyword.value] = arg
            elif arg.keyword is None and len(given) + len(rest) < len(positional) and not rest:
                given[positional[len(given)].name] = arg
            else:
                rest.append(arg)
        return given, rest


def _worded(arg: cst.Arg, name: str) -> cst.Arg:
    return arg.with_changes(keyword=cst.Name(name), equal=_spaceless())
