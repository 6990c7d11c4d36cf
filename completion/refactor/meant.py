"""What an answer means: the same calls, put as they are carried out best. Asks no model, and changes no meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from completion.refactor.allowed import Allowed
from completion.refactor.calls import (
    AnyCall,
    ChangeKind,
    ChangeSignature,
    ExtractVariable,
    FindSymbol,
    Move,
    ParameterChange,
    Rename,
)
from completion.refactor.layout import parameter_names
from completion.refactor.targets import PARAMETER, Target
from completion.refactor.wish import View, Wish


def meant(calls: Sequence[AnyCall], wish: Wish) -> tuple[AnyCall, ...]:
    """Each call once; changes of one signature together; an expression on the line that has it. What acts on a symbol
    that is not in view asks where it is."""
    if missing := _missing(calls, wish):
        return tuple(FindSymbol(symbol=name) for name in missing)
    found, aliases = list[AnyCall](), Allowed(wish).aliases
    for call in dict.fromkeys(_in_full(one, aliases) for one in calls):
        before = found[-1] if found else None
        if isinstance(call, ExtractVariable):
            call = _placed(call, wish.view)
        if isinstance(call, Rename):
            call = _as_parameter(call, wish)
        if isinstance(call, ChangeSignature) and isinstance(before, ChangeSignature) and before.symbol == call.symbol:
            call = msgspec.structs.replace(call, changes=(*before.changes, *call.changes))
            found.pop()
        if isinstance(call, ChangeSignature):
            call = msgspec.structs.replace(call, changes=tuple(dict.fromkeys(call.changes)))
        found.append(call)
    return tuple(found)


def _placed(call: ExtractVariable, view: View) -> ExtractVariable:
    """With the line of the selection where the expression begins, if there is but one."""
    if view.first_line is None or call.path != view.path or view.selected.count(call.expression) != 1:
        return call
    before = view.selected.partition(call.expression)[0]
    return msgspec.structs.replace(call, line=view.first_line + before.count("\n"))


def _in_full(call: AnyCall, aliases: Mapping[str, Target]) -> AnyCall:
    """With the whole name of the symbol; for a signature, of the function whose parameter was named."""
    field = "source" if isinstance(call, Move) else "symbol"
    target = aliases.get(getattr(call, field, ""))
    if target is None or isinstance(call, FindSymbol):
        return call
    owner = isinstance(call, ChangeSignature) and target.kind == PARAMETER
    return msgspec.structs.replace(call, **{field: target.name.rpartition(".")[0] if owner else target.name})


def _missing(calls: Sequence[AnyCall], wish: Wish) -> list[str]:
    """The symbols that have to be looked for first."""
    unknown = set(Allowed(wish).unknown)
    acted_on = [getattr(call, "symbol", None) or getattr(call, "source", None) for call in calls]
    return [name for name in dict.fromkeys(acted_on) if name in unknown]


def _as_parameter(call: Rename, wish: Wish) -> AnyCall:
    """A parameter is renamed as part of its function's signature, so that those who name it in a call follow."""
    owner, _, short = call.symbol.rpartition(".")
    functions = {symbol.name: parameter_names(symbol) for symbol in wish.view.outline}
    if short not in functions.get(owner, ()) or call.symbol in functions:
        return call
    change = ParameterChange(change=ChangeKind.RENAME, parameter=short, new_name=call.new_name)
    return ChangeSignature(symbol=owner, changes=(change,))
