"""What looking calls answer, as the tools word it, for dialogues that look before they act."""

from __future__ import annotations

import random

from completion.refactor.calls import AnyCall, Definition, Diagnostics, FindSymbol, Outline, References
from completion.refactor.training.scene import Scene, is_function
from completion.refactor.wish import Symbol

_NOTHING = (*["There is no symbol {name}."] * 3, "No symbol {name}.", "{name}: not found.")


def found(symbols: list[Symbol], rng: random.Random) -> str:
    """The definitions that a look-up found, one a line; mostly as the tools of this project write them."""
    style = rng.random()
    return "\n".join(_row(symbol, style) for symbol in symbols)


def nothing(name: str, rng: random.Random) -> str:
    """That there is no such symbol."""
    return rng.choice(_NOTHING).replace("{name}", name)


def answered(call: AnyCall, scene: Scene, rng: random.Random) -> str:
    """What a looking call about a scene may be answered."""
    symbol = rng.choice(scene.outline)
    numbers = sorted(rng.sample(range(1, len(scene.lines) + 1), min(len(scene.lines), rng.randint(1, 4))))
    places = "\n".join(f"{scene.path}:{number}: {scene.lines[number - 1].strip()}"[:120] for number in numbers)
    match call:
        case FindSymbol():
            return rng.choice((found([symbol], rng), nothing(call.symbol, rng)))
        case Definition():
            last = min(symbol.last_line, symbol.first_line + 6)
            rows = [f"{symbol.path}:{symbol.first_line}-{last}", *scene.lines[symbol.first_line - 1 : last]]
            return "\n".join(row[:120] for row in rows)
        case Outline():
            return "\n".join(_row(one, 0.0).replace(f"{one.path}::", "") for one in scene.outline)
        case Diagnostics():
            return rng.choice(("No problems.", f"{scene.path}:{numbers[0]}: undefined name {symbol.name}"))
        case References():
            return rng.choice((places, "It is used nowhere."))
        case _:
            return rng.choice((places, f"No line has {getattr(call, 'text', '')!r}."))


def address(symbol: Symbol) -> str:
    """A symbol by its path: `src/parser.py::Parser.feed`."""
    return f"{symbol.path}::{symbol.name}"


def _row(symbol: Symbol, style: float) -> str:
    signature = f"({', '.join(symbol.parameters)})" if is_function(symbol) else ""
    lines = f"{symbol.first_line}-{symbol.last_line}"
    if style < 0.8:
        return f"{symbol.kind} {address(symbol)}{signature} lines {lines}"
    if style < 0.9:
        return f"{address(symbol)}{signature} {lines}"
    return f"{address(symbol)}:{symbol.first_line}"
