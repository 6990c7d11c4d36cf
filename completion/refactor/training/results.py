"""What looking calls answer, as the tools word it, for dialogues that look before they act."""

from __future__ import annotations

import random

from completion.refactor.layout import parameter_names
from completion.refactor.training.scene import is_function
from completion.refactor.wish import Symbol

_NOTHING = (
    "There is no {name}.",
    "Nothing is named {name}.",
    "No symbol {name}.",
    "{name}: not found.",
    "Nothing found.",
)


def found(symbols: list[Symbol], rng: random.Random) -> str:
    """The definitions that a look-up found, one a line; mostly as the tools of this project write them."""
    style = rng.random()
    return "\n".join(_row(symbol, style) for symbol in symbols)


def nothing(name: str, rng: random.Random) -> str:
    """That there is no such symbol."""
    return rng.choice(_NOTHING).replace("{name}", name)


def address(symbol: Symbol) -> str:
    """A symbol by its path: `src/parser.py::Parser.feed`."""
    return f"{symbol.path}::{symbol.name}"


def _row(symbol: Symbol, style: float) -> str:
    signature = f"({', '.join(parameter_names(symbol))})" if is_function(symbol) else ""
    lines = f"{symbol.first_line}-{symbol.last_line}"
    if style < 0.6:
        return f"{address(symbol)}{signature} {lines}"
    if style < 0.75:
        return f"{address(symbol)} {symbol.kind} {lines}"
    if style < 0.9:
        return f"{symbol.kind} {address(symbol)}{signature}, lines {lines}"
    return f"{address(symbol)}:{symbol.first_line}"
