"""What the arguments of one wish's calls may be: symbols, names, paths, lines and pieces of text, as lists.

Some of it may be barred, to hear what else there is to say. `completion.refactor.grammar` makes rules of these lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from pathlib import PurePosixPath
from typing import TypeVar

from completion.refactor import pieces
from completion.refactor.calls import Call
from completion.refactor.targets import LOCAL, PARAMETER, Target, is_named, names_said, targets
from completion.refactor.wish import Wish

_Value = TypeVar("_Value", str, int)
_NAME = re.compile(r"[^\W\d][\w./:-]*\w")
_LINES = re.compile(r"\blines \d+-(\d+)")


class Presence(Enum):
    """Whether an argument that may be left out is."""

    GIVEN = "given"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Barred:
    """Something that an answer may not have: a tool that it begins with (no `field`), or a value of an argument."""

    tool: type[Call]
    field: str = ""
    value: str | int | Presence | None = None


@dataclass(frozen=True)
class Allowed:
    """What the arguments of one wish's calls are made of."""

    wish: Wish
    barred: frozenset[Barred] = frozenset()

    def rest(self, tool: type[Call], field: str, values: Iterable[_Value]) -> list[_Value]:
        """Those of the values that are not barred there."""
        return [value for value in dict.fromkeys(values) if Barred(tool, field, value) not in self.barred]

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The symbols that the wish may be about."""
        aliases = (replace(target, name=said) for said, target in self.aliases.items())
        return (*targets(self.wish), *aliases, *(Target(name=name) for name in self.unknown))

    @cached_property
    def aliases(self) -> dict[str, Target]:
        """What people may call a symbol for short, since nothing else is called so: a variable or parameter without
        its function, what was looked up without its file."""
        every = targets(self.wish)
        signatures = {target.name: target.parameters for target in every}
        found: dict[str, list[Target]] = {}
        for target in every:
            if "::" in target.name:
                found.setdefault(target.name.rpartition("::")[2], []).append(target)
            elif target.kind in (LOCAL, PARAMETER) and self._is_bound(target):
                # A parameter stands for its function too: what is said of it is said of the signature.
                own = signatures.get(target.name.rpartition(".")[0]) if target.kind == PARAMETER else None
                found.setdefault(target.short, []).append(replace(target, parameters=own))
        taken = {target.name for target in every}
        return {said: several[0] for said, several in found.items() if len(several) == 1 and said not in taken}

    def _is_bound(self, target: Target) -> bool:
        return target.kind == PARAMETER or target.name in self.wish.view.variables

    @cached_property
    def unknown(self) -> tuple[str, ...]:
        """Names that the wish says, where it names nothing in view: whoever acts on one must look for it first."""
        said = names_said(pieces.without_paths(self.wish.instruction))
        if (
            self.wish.turns
            or self.wish.view.first_line is not None
            or any(is_named(target, said) for target in targets(self.wish))
        ):
            return ()
        return tuple(name for name in said if name in self.sought and not pieces.is_reserved(name))

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Files that exist, the one in view by its whole path alone."""
        own = self.wish.view.path
        return tuple(path for path in known_paths(self.wish) if path == own or not own.endswith(f"/{path}"))

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Those files and their folders."""
        folders = [str(folder) for path in self.paths for folder in PurePosixPath(path).parents if str(folder) != "."]
        return tuple(dict.fromkeys([*self.paths, *folders]))

    @cached_property
    def destinations(self) -> tuple[str, ...]:
        """Where something may be moved to: paths that the wish says."""
        return tuple(path for path in pieces.paths(self.wish.instruction) if path != self.wish.view.path)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What may be a new name."""
        return pieces.free_words(self.wish.instruction)

    @cached_property
    def sought(self) -> tuple[str, ...]:
        """Names that a wish may ask about, without those of which it is known where they are."""
        said = (*_NAME.findall(self.wish.instruction), *pieces.words(self.wish.instruction))
        return tuple(name for name in dict.fromkeys(said) if not self.is_seen(name))

    def is_seen(self, name: str) -> bool:
        """Whether the file in view has a symbol of that name."""
        return any(is_named(target, (name,)) for target in self._seen)

    @cached_property
    def _seen(self) -> tuple[Target, ...]:
        every = targets(replace(self.wish, turns=()))
        return tuple(target for target in every if target.kind != LOCAL or self._is_bound(target))

    @cached_property
    def default(self) -> tuple[str, ...]:
        """What may be a default: a piece of the wish, or nothing in the language's own words."""
        language = self.wish.view.language
        nothing = ("None",) if language == "python" else ("null",) if language else ("None", "null")
        return tuple(dict.fromkeys([*pieces.values(self.wish.instruction), *nothing]))

    @cached_property
    def lines(self) -> tuple[int, ...]:
        """Where lines to extract begin and end."""
        view = self.wish.view
        selected = [] if view.first_line is None else [view.first_line, view.last_line or view.first_line]
        return tuple(dict.fromkeys(n for n in (*selected, *pieces.numbers(self.wish.instruction)) if n > 0))

    @cached_property
    def inside(self) -> tuple[int, ...]:
        """Lines that may have an expression: those selected, else those said."""
        view = self.wish.view
        if view.first_line is None:
            return self.lines
        return tuple(range(view.first_line, (view.last_line or view.first_line) + 1))

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Lines after which code may go: the file's start, the ends of symbols and of the selection, those said."""
        view = self.wish.view
        names = {target.name for target in self.targets}
        ends = [symbol.last_line for symbol in view.outline if symbol.name in names]
        ends += [int(end) for turn in self.wish.turns for result in turn.results for end in _LINES.findall(result)]
        selected = [] if view.first_line is None else [view.last_line or view.first_line]
        return tuple(dict.fromkeys([0, *ends, *selected, *pieces.numbers(self.wish.instruction)]))


def known_paths(wish: Wish) -> tuple[str, ...]:
    """The paths that a call may name as existing: in view, in the wish, and in what the tools found."""
    found = [match for turn in wish.turns for result in turn.results for match in pieces.paths(result)]
    view = [wish.view.path, *(symbol.path for symbol in wish.view.outline)]
    return tuple(dict.fromkeys(path for path in (*view, *pieces.paths(wish.instruction), *found) if path))
