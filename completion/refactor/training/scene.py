"""Scenes for wishes: a part of a real file in view, with its outline, and names for new things from other code.

Outlines are those that the tools make (`completion.refactor.symbols`), so training sees what serving shows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from completion.refactor.layout import parameter_names
from completion.refactor.symbols import outline
from completion.refactor.wish import Symbol, View

_FUNCTIONS = ("function", "method")
_MOST_LINES = 4000
_MOST_NAME = 40
_STYLES = (
    ("constant", re.compile(r"_?[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$|[A-Z]{3,}$")),
    ("class", re.compile(r"_?[A-Z][a-z0-9]+([A-Z][a-z0-9]*)*$")),
    ("camel", re.compile(r"_?[a-z]+[0-9]*([A-Z][a-z0-9]*)+$")),
    ("snake", re.compile(r"_{0,2}[a-z][a-z0-9]*(_[a-z0-9]+)*$")),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file of some package."""

    package: str
    path: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A file with the part of its outline that is in view, and the whole outline."""

    source: Source
    lines: tuple[str, ...]
    outline: tuple[Symbol, ...]
    everything: tuple[Symbol, ...]

    @property
    def path(self) -> str:
        """The file's path."""
        return self.source.path

    def view(self, first: int | None = None, last: int | None = None) -> View:
        """The view, with the lines `first` … `last` selected."""
        selected = "" if first is None else "\n".join(self.lines[first - 1 : last or first]) + "\n"
        return View(
            path=self.path,
            language=self.source.language,
            outline=self.outline,
            first_line=first,
            last_line=last or first,
            selected=selected,
        )

    def functions(self, *, least_lines: int = 1) -> list[Symbol]:
        """Functions and methods in view of at least so many lines."""
        return [one for one in self.outline if one.kind in _FUNCTIONS and one.last_line - one.first_line >= least_lines]


class Names:
    """Identifiers of real code, by the style in which they are written, and parameters."""

    def __init__(self) -> None:
        self._by_style: dict[str, dict[str, None]] = {style: {} for style, _ in _STYLES}

    def add(self, symbols: Sequence[Symbol]) -> None:
        """Remember the names of an outline."""
        for symbol in symbols:
            for name in (symbol.name.rpartition(".")[2], *parameter_names(symbol)):
                style = style_of(name)
                if style is not None and 2 < len(name) < _MOST_NAME:
                    self._by_style[style][name] = None

    def like(self, name: str, rng: random.Random) -> str:
        """Another name in the style of this one."""
        style = style_of(name) or "snake"
        pool = self._pool(style) or self._pool("snake")
        for _ in range(20):
            other = rng.choice(pool)
            if other != name and other.startswith("_") == name.startswith("_"):
                return other
        return f"{name}_2" if style == "snake" else f"{name}2"

    def of(self, style: str, rng: random.Random) -> str:
        """A name in a style: constant, class, camel or snake."""
        return rng.choice(self._pool(style) or self._pool("snake"))

    def _pool(self, style: str) -> list[str]:
        return list(self._by_style[style])


class FrozenNames(Names):
    """Names that are not added to any more, with their pools made once."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._pools = {style: list(found) for style, found in names._by_style.items()}

    def _pool(self, style: str) -> list[str]:
        return self._pools[style]


def style_of(name: str) -> str | None:
    """How a name is written; None for one that has no style."""
    return next((style for style, pattern in _STYLES if pattern.match(name)), None)


def outline_of(source: Source) -> tuple[Symbol, ...]:
    """The definitions of a file, as the tools tell them, that have plain names of a length that fits."""
    found: dict[str, Symbol] = {}
    for symbol in outline(source.text, source.path):
        plain = re.fullmatch(r"[A-Za-z_][\w.]*", symbol.name) and not symbol.name.rpartition(".")[2].startswith("__")
        if plain and len(symbol.name) < 2 * _MOST_NAME:
            found.setdefault(symbol.name, symbol)
    return tuple(found.values())


def make_scene(source: Source, everything: tuple[Symbol, ...], rng: random.Random) -> Scene | None:
    """A part of a file: some symbols that follow each other. None for a file that has too few, or is too long."""
    lines = tuple(source.text.split("\n"))
    if len(everything) < 2 or len(lines) > _MOST_LINES or len(source.path) > 60:
        return None
    count = min(len(everything), rng.choice((2, 3, 3, 4, 4, 5, 6, 7, 9, 12, 16)))
    start = rng.randrange(len(everything) - count + 1)
    return Scene(source, lines, everything[start : start + count], everything)


def without(scene: Scene, symbol: Symbol) -> Scene:
    """The scene with a symbol out of view."""
    return replace(scene, outline=tuple(one for one in scene.outline if one != symbol))


def is_function(symbol: Symbol) -> bool:
    """Whether it has parameters."""
    return symbol.kind in _FUNCTIONS
