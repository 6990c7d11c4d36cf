"""What a refactoring begins with: a wish in words, what is in view, and the turns so far. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from completion.refactor.calls import AnyCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A definition in the outline of a file. `name` is qualified within its file: `Class.method`. Lines are 1-based."""

    name: str
    kind: str
    path: str
    first_line: int
    last_line: int
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is in view when the wish is made: the file in focus, its outline, and the selected lines, if any.

    `path` is "" when the wish is about the repository as a whole; `outline` then is empty, and the model looks up.
    `variables`: those inside of functions that the wish may name, as `function.name`; no prompt shows them.
    """

    path: str = ""
    language: str = ""
    outline: tuple[Symbol, ...] = ()
    first_line: int | None = None
    last_line: int | None = None
    selected: str = ""
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the model called in one turn, and what the tools answered, in the same order."""

    calls: tuple[AnyCall, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An instruction in the user's words, with its view and the turns so far."""

    instruction: str
    view: View = field(default_factory=View)
    turns: tuple[Turn, ...] = ()
