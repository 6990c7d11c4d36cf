"""Who speaks a wish, and what a part of one is: its words, the calls that it asks for, the lines selected for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from completion.refactor.calls import AnyCall
from completion.refactor.layout import enclosing
from completion.refactor.training.phrasebook import Phrasebook
from completion.refactor.training.scene import Names, Scene
from completion.refactor.wish import Symbol

_HERE_SHARE = 0.3
_NOUN_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Part:
    """What is said, what it asks for, and the selection that it needs, if any."""

    said: str
    calls: tuple[AnyCall, ...]
    selection: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks, with what luck, and which names come to mind."""

    book: Phrasebook
    rng: random.Random
    names: Names

    def say(self, kind: str, **slots: str) -> str:
        """See `Phrasebook.say`."""
        return self.book.say(kind, self.rng, **slots)

    def refer(self, scene: Scene, symbol: Symbol) -> tuple[str, tuple[int, int] | None]:
        """A symbol in words: its name, a noun with it, or "this function" with the cursor there."""
        rng = self.rng
        if rng.random() < _HERE_SHARE and (place := cursor_in(scene, symbol, rng)) is not None:
            return rng.choice((*self.book.here.get(symbol.kind, ()), *self.book.here[""])), place
        name = self.book.quote(spoken_name(scene, symbol, rng), rng)
        if rng.random() < _NOUN_SHARE and (nouns := self.book.nouns.get(symbol.kind)):
            name = rng.choice(nouns).replace("{name}", name)
        return name, None


Maker = Callable[[Scene, Speaker], Part | None]


def spoken_name(scene: Scene, symbol: Symbol, rng: random.Random) -> str:
    """The short name where that is clear, or the qualified one."""
    short = symbol.name.rpartition(".")[2]
    twins = [one for one in scene.outline if one.name.rpartition(".")[2] == short]
    return symbol.name if len(twins) > 1 or rng.random() < 0.4 else short


def cursor_in(scene: Scene, symbol: Symbol, rng: random.Random) -> tuple[int, int] | None:
    """A line or some lines that belong to a symbol, and to none inside it."""
    for _ in range(4):
        first = rng.randint(symbol.first_line, min(symbol.last_line, symbol.first_line + 12))
        last = min(symbol.last_line, first + rng.choice((0, 0, 0, 1, 2)))
        if enclosing(scene.view(first, last)) == symbol and scene.lines[first - 1].strip():
            return first, last
    return None


def pick(found: list[Symbol], rng: random.Random) -> Symbol | None:
    """One of them, or None."""
    return rng.choice(found) if found else None
