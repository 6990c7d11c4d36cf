"""Variables and parameters inside of functions, which no outline lists: where `function.name` is bound."""

from __future__ import annotations

from collections.abc import Iterable

from completion.language import detect
from completion.refactor.overlay import Overlay
from completion.refactor.scopes import NAMES, Binding, Scopes, leaves, scopes_of
from completion.refactor.symbols import Place, places, resolve, split
from completion.refactor.wish import Symbol
from model.errors import RefusedError


def place_of_local(overlay: Overlay, name: str, *, prefer: str = "") -> Place | None:
    """Where `function.variable`, or `file::variable`, is bound first; None where there is none.

    Raises `RefusedError` where several functions of the file have such a variable.
    """
    path, dotted = split(name)
    holder, _, own = dotted.rpartition(".")
    if holder:
        try:
            outer = resolve(overlay, f"{path}::{holder}" if path else holder, prefer=prefer)
        except RefusedError:
            return None
        return _in(overlay, outer.symbol.path, own, outer)
    if path or prefer:
        return _in(overlay, path or prefer, own, None)
    return None


def variables(text: str, path: str, names: Iterable[str]) -> tuple[str, ...]:
    """The variables and parameters of these names in the functions of a text, as `function.name`, each once."""
    found = scopes_of(text, detect(path=path).id)
    if found is None:
        return ()
    inner = [scope for scope in found.scopes if scope.parent is not None]
    bindings = [one for name in dict.fromkeys(names) for scope in inner for one in scope.bindings.get(name, [])]
    return tuple(dict.fromkeys(name for binding in bindings if (name := _owned(found, binding, path))))


def _owned(found: Scopes, binding: Binding, path: str) -> str:
    """`function.name` of a binding; "" of what no function holds, or the outline lists."""
    at = found.parsed.offset(binding.names[0].start_byte)
    holders = [one for one in places(found.parsed.text, path) if one.first <= at < one.last]
    if not holders or any(one.start == at for one in holders):
        return ""
    inner = max(holders, key=lambda one: one.first).symbol
    return f"{inner.name}.{binding.name}" if inner.kind in ("function", "method") else ""


def _in(overlay: Overlay, path: str, own: str, outer: Place | None) -> Place | None:
    if not overlay.exists(path):
        return None
    text = overlay.read(path)
    found = scopes_of(text, detect(path=path).id)
    if found is None:
        return None
    bindings = [one for scope in found.scopes for one in scope.bindings.get(own, []) if _within(found, one, outer)]
    if outer is not None:
        bindings = bindings[:1]
    if len(bindings) > 1:
        holders = ", ".join(sorted({_holder(found, one, path) for one in bindings}))
        raise RefusedError(f"{own} is a variable of several functions.", hint=f"Say of which: {holders}.")
    if not bindings:
        return None
    first = min(bindings[0].names, key=lambda node: node.start_byte)
    start, end = found.parsed.offset(first.start_byte), found.parsed.offset(first.end_byte)
    scope = bindings[0].scope
    first_line = found.parsed.source.count(b"\n", 0, scope.start) + 1
    last_line = found.parsed.source.count(b"\n", 0, scope.end) + 1
    qualified = f"{outer.symbol.name}.{own}" if outer is not None else own
    symbol = Symbol(name=qualified, kind="variable", path=path, first_line=first_line, last_line=last_line)
    return Place(symbol=symbol, start=start, end=end, first=start, last=end)


def _within(found: Scopes, binding: Binding, outer: Place | None) -> bool:
    byte = binding.names[0].start_byte
    return outer is None or found.parsed.byte(outer.first) <= byte < found.parsed.byte(outer.last)


def _holder(found: Scopes, binding: Binding, path: str) -> str:
    offset = found.parsed.offset(binding.names[0].start_byte)
    inside = [one for one in places(found.parsed.text, path) if one.first <= offset < one.last]
    return f"{inside[-1].symbol.name}.{binding.name}" if inside else binding.name


def name_at(text: str, path: str, offset: int) -> str:
    """The symbol that the name at an offset means, as calls name it. Raises `RefusedError` where there is no name."""
    found = scopes_of(text, detect(path=path).id)
    if found is None:
        raise RefusedError(f"Names in {path} cannot be told.", hint="This works in languages with known scopes.")
    byte = found.parsed.byte(offset)
    for node in leaves(found.parsed.tree.root_node):
        if not node.start_byte <= byte <= node.end_byte or "identifier" not in node.type:
            continue
        binding = found.binding(node) if node.type in NAMES else None
        byte_starts = [node.start_byte] if binding is None else [one.start_byte for one in binding.names]
        starts = [found.parsed.offset(one) for one in byte_starts]
        for place in places(text, path):
            if place.start in starts:
                return f"{path}::{place.symbol.name}"
        own = (node.text or b"").decode("utf-8", "replace")
        holders = [one for one in places(text, path) if one.first <= min(starts) < one.last]
        if binding is None:
            return own
        return f"{path}::{holders[-1].symbol.name}.{own}" if holders else f"{path}::{own}"
    raise RefusedError("There is no name under the cursor.", hint="Put the cursor on one.")
