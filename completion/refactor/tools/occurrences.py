"""Where a Python function is defined and called, overriding methods included: rope looks, in a mirror.

A constructor is overridden by nobody: subclasses have their own. Its calls are those of its class, of subclasses that
have none of their own, and `super().__init__`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rope.contrib.findit import find_occurrences

from completion.refactor.overlay import Overlay
from completion.refactor.symbols import Place, places, resolve
from completion.refactor.tools.heirs import Heir, Spot, heirs
from completion.refactor.tools.rope_project import Mirror, mirror
from completion.refactor.tools.within import bearing, of_constructor
from model.errors import RefusedError

Spots = dict[str, set[Spot]]


def occurrences(overlay: Overlay, place: Place, *, everywhere: bool = False) -> Spots:
    """The spots of a symbol's name by file; for a class's `__init__` those of the class too.

    `everywhere`: look into every file, which is slow, and finds the same.
    """
    with _search(overlay, everywhere=everywhere) as search:
        return search.constructor(place)[0] if is_constructor(place) else search.name(place)


def unsure(overlay: Overlay, place: Place) -> list[str]:
    """`path:line` of names that may mean the symbol, for all that rope can tell.

    For a constructor: of subclasses of which it is not clear whose constructor they call.
    """
    with _search(overlay) as search:
        return search.constructor(place)[1] if is_constructor(place) else search.unsure(place)


def is_constructor(place: Place) -> bool:
    """Whether it is the `__init__` of a class."""
    return place.symbol.name.endswith(".__init__")


class _Search:
    """Rope in a mirror of the overlay."""

    def __init__(self, overlay: Overlay, made: Mirror, *, everywhere: bool) -> None:
        self._overlay, self._made, self._everywhere = overlay, made, everywhere

    def name(self, place: Place) -> Spots:
        """Every occurrence, in overriding methods too."""
        return self._found(place, bearing(self._overlay, _own_name(place)), in_hierarchy=True)

    def unsure(self, place: Place) -> list[str]:
        """What may be an occurrence."""
        located = find_occurrences(
            self._made.project, self._made.file(place.symbol.path), place.start, unsure=True, in_hierarchy=True,
            resources=self._made.files(bearing(self._overlay, _own_name(place))),
        )  # fmt: skip
        return sorted({f"{one.resource.path}:{one.lineno}" for one in located if one.unsure})

    def constructor(self, place: Place) -> tuple[Spots, list[str]]:
        """The occurrences of a constructor, and `path:line` of classes that may inherit it, or not."""
        holder = place.symbol.name.rpartition(".")[0]
        within = of_constructor(self._overlay, holder.rpartition(".")[2])
        found = self._found(place, within, in_hierarchy=False)
        unclear: set[str] = set()
        try:
            waiting = [resolve(self._overlay, f"{place.symbol.path}::{holder}")]
        except RefusedError:
            return found, []
        seen = set(waiting)
        while waiting:
            named = self.name(waiting.pop())
            for path, spots in named.items():
                found.setdefault(path, set()).update(spots)
                for heir in heirs(self._overlay.read(path), spots):
                    if heir.own and not heir.supers:
                        continue
                    if not heir.certain:
                        unclear.add(f"{path}:{heir.line}")
                        continue
                    found[path].update(heir.supers)
                    new = [] if heir.own else [one for one in self._places(path, heir) if one not in seen]
                    seen.update(new)
                    waiting += new
        return found, sorted(unclear)

    def _found(self, place: Place, within: frozenset[str], *, in_hierarchy: bool) -> Spots:
        located = find_occurrences(
            self._made.project, self._made.file(place.symbol.path), place.start, unsure=False,
            in_hierarchy=in_hierarchy, resources=None if self._everywhere else self._made.files(within),
        )  # fmt: skip
        found: Spots = {}
        for one in located:
            path = one.resource.path
            found.setdefault(path, set()).add(_spot(self._overlay.read(path), one.region[0]))
        return found

    def _places(self, path: str, heir: Heir) -> Iterator[Place]:
        text = self._overlay.read(path)
        for place in places(text, path):
            if text[place.start : place.end] == heir.name and text.count("\n", 0, place.start) + 1 == heir.line:
                yield place


@contextmanager
def _search(overlay: Overlay, *, everywhere: bool = False) -> Iterator[_Search]:
    with mirror(overlay) as made:
        yield _Search(overlay, made, everywhere=everywhere)


def _own_name(place: Place) -> str:
    return place.symbol.name.rpartition(".")[2]


def _spot(text: str, offset: int) -> Spot:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1)
