"""What the calls of a wish may be about: the symbols in view and those that were found, narrowed by what the wish says.

A wish that names symbols is about those, or about what holds the cursor; one that names none may be about any that is
shown. Knows no tools and asks no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from completion.refactor.calls import FindSymbol
from completion.refactor.layout import enclosing, parameter_names, parameters_in, shown
from completion.refactor.wish import Symbol, View, Wish

LOCAL = "local"
"""The kind of a variable inside of a function."""
PARAMETER = "parameter"
"""The kind of a parameter, as a member of its function."""
_DOTTED = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_FOUND = re.compile(r"(?:(\w+) )?([\w./\\-]+)::([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?:\(([^()\n]*)\))?")
_Row = tuple[str | Any, ...]
"""Kind, path, name and parameters of a symbol that was found."""
_STEM = 5
"""Letters that two words must share at their beginning to be alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A symbol that a call may act on. `kind`: "" where it is not known; `parameters`: None where they are not."""

    name: str
    kind: str = ""
    parameters: tuple[str, ...] | None = None
    taken: frozenset[str] = frozenset()
    """Names that it cannot get, since others beside it bear them."""
    aside: bool = False
    """Whether the wish says a variable or parameter of it, and not its own name."""

    @property
    def short(self) -> str:
        """The name alone: `feed` of `src/parser.py::Parser.feed`."""
        return self.name.rpartition("::")[2].rpartition(".")[2]


def targets(wish: Wish) -> tuple[Target, ...]:
    """The symbols that the wish may be about; of those that a look-up found, none that the wish leaves open."""
    outline = [_outlined(symbol, wish.view) for symbol in shown(wish.view, wish.instruction)]
    said = names_said(wish.instruction)
    everything = [*outline, *_locals(wish), *_found(wish)]
    named = [target for target in everything if is_named(target, said)]
    inner = _inner(wish.view, said, known={target.name for target in everything})
    if named:
        owners = {target.name for target in named}
        inner = [target for target in inner if target.name.rpartition(".")[0] in owners]
    else:
        owners = {target.name.rpartition(".")[0] for target in inner}
        named = [*inner, *(target for target in outline if target.name in owners)]
    everything += inner
    holders = {symbol.name for symbol in _holders(wish.view)}
    if not named and holders:
        words = {word.lower() for word in _NAME.findall(wish.instruction)}
        named = [target for target in everything if target.kind != LOCAL and _is_like(target, words)]
    elif not named:
        return tuple(everything)
    chosen = {target.name for target in [*named, *inner]} | holders
    bound = {target.name for target in inner} | set(wish.view.variables)
    within = {target.name.rpartition(".")[0] for target in [*named, *inner] if target.name in bound}
    return tuple(
        replace(target, aside=target.name in within and not is_named(target, said))
        for target in everything
        if target.name in chosen
    )


def names_said(text: str) -> tuple[str, ...]:
    """The names in a text, dotted ones whole; the first also with a small letter, since sentences begin with a
    capital."""
    found = [match[0] for match in _DOTTED.finditer(text)]
    first = [found[0][0].lower() + found[0][1:]] if found else []
    return tuple(dict.fromkeys([*found, *first]))


def is_named(target: Target, said: Iterable[str]) -> bool:
    """Whether one of these names means the symbol: `feed`, `Parser.feed` or `parser.Parser.feed`."""
    own = target.name.rpartition("::")[2]
    if target.kind in (LOCAL, PARAMETER):
        return target.short in said
    return any(own == name or own.endswith(f".{name}") or name.endswith(f".{own}") for name in said)


def _outlined(symbol: Symbol, view: View) -> Target:
    owner, _, short = symbol.name.rpartition(".")
    peers = {one.name.rpartition(".")[2] for one in view.outline if one.name.rpartition(".")[0] == owner}
    callable_ = symbol.parameters or symbol.kind in ("function", "method")
    return Target(
        name=symbol.name,
        kind=symbol.kind,
        parameters=parameter_names(symbol) if callable_ else None,
        taken=frozenset(peers - {short}),
    )


def _holders(view: View) -> list[Symbol]:
    """What holds the whole selection, from the file's level inwards."""
    inner = enclosing(view)
    if inner is None:
        return []
    return [one for one in view.outline if one == inner or inner.name.startswith(f"{one.name}.")]


def _locals(wish: Wish) -> list[Target]:
    """Names in the selection, as members of the function that holds it."""
    holder = enclosing(wish.view)
    if holder is None or holder.kind not in ("function", "method"):
        return []
    names = dict.fromkeys(_NAME.findall(wish.view.selected))
    taken = frozenset((*names, *parameter_names(holder)))
    return [Target(name=f"{holder.name}.{name}", kind=LOCAL, taken=taken - {name}) for name in names]


def _inner(view: View, said: Iterable[str], *, known: set[str]) -> list[Target]:
    """Variables and parameters that are said, as members of their functions, but those that are known already."""
    functions = [symbol for symbol in view.outline if symbol.kind in ("function", "method")]
    owned = {symbol.name: dict.fromkeys(parameter_names(symbol), PARAMETER) for symbol in functions}
    for variable in view.variables:
        owner, _, short = variable.rpartition(".")
        owned.setdefault(owner, {}).setdefault(short, LOCAL)
    return [
        Target(name=f"{owner}.{short}", kind=kind, taken=frozenset(names) - {short})
        for owner, names in owned.items()
        for short, kind in names.items()
        if short in said and f"{owner}.{short}" not in known
    ]


def _found(wish: Wish) -> list[Target]:
    found: dict[str, Target] = {}
    for turn in wish.turns:
        for call, result in zip(turn.calls, turn.results, strict=False):
            rows = [match.groups() for match in _FOUND.finditer(result)]
            if isinstance(call, FindSymbol):
                rows = _meant(rows, wish.instruction)
            for kind, path, name, signature in rows:
                own = None if signature is None else parameters_in(signature)
                target = Target(name=f"{path}::{name}", kind=kind or "", parameters=own)
                found.setdefault(target.name, target)
    return list(found.values())


def _meant(rows: Sequence[_Row], instruction: str) -> list[_Row]:
    """The rows of one look-up that the wish can mean: where several bear the name, those whose file it names."""
    if len({(row[1], row[2]) for row in rows}) < 2:
        return list(rows)
    return [row for row in rows if str(row[1]) in instruction or str(row[1]).rpartition("/")[2] in instruction]


def _is_like(target: Target, words: set[str]) -> bool:
    """Whether a word of the wish is a part of the name, or begins as one does."""
    parts = [part.lower() for part in _PART.findall(target.short)]
    return any(
        part == word or (len(part) >= _STEM and part[:_STEM] == word[:_STEM]) for part in parts for word in words
    )
