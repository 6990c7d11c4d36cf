"""Where a Python function is defined and called, overriding methods included: rope looks, in a mirror."""

from __future__ import annotations

from rope.contrib.findit import find_occurrences

from completion.refactor.overlay import Overlay
from completion.refactor.symbols import Place, resolve
from completion.refactor.tools.rope_project import mirror
from model.errors import RefusedError

Spot = tuple[int, int]
"""A 1-based line and a column in code points, from 0."""


def occurrences(overlay: Overlay, place: Place) -> dict[str, set[Spot]]:
    """The spots of a symbol's name by file; for a class's `__init__` those of the class too."""
    wanted = [place]
    holder, _, own = place.symbol.name.rpartition(".")
    if own == "__init__" and holder:
        try:
            wanted.append(resolve(overlay, f"{place.symbol.path}::{holder}"))
        except RefusedError:
            wanted = [place]
    found: dict[str, set[Spot]] = {}
    with mirror(overlay) as made:
        for one in wanted:
            located = find_occurrences(
                made.project, made.file(one.symbol.path), one.start, unsure=False, in_hierarchy=True
            )
            for location in located:
                path = location.resource.path
                found.setdefault(path, set()).add(_spot(overlay.read(path), location.region[0]))
    return found


def unsure(overlay: Overlay, place: Place) -> list[str]:
    """`path:line` of names that may mean the symbol, for all that rope can tell."""
    with mirror(overlay) as made:
        located = find_occurrences(
            made.project, made.file(place.symbol.path), place.start, unsure=True, in_hierarchy=True
        )
        return sorted({f"{one.resource.path}:{one.lineno}" for one in located if one.unsure})


def _spot(text: str, offset: int) -> Spot:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1)
