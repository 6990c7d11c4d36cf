"""The seam between whoever chooses calls and whoever carries them out: plain data and protocols, no model here.

A planner sees a wish and may look; what it returns is carried out, verified and shown by others. Without a model a
plan is simply written down: `Fixed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from completion.refactor.calls import ActingCall, LookingCall
from completion.refactor.wish import Turn, Wish
from model.api import Usage

Look = Callable[[LookingCall], str]
"""Answers a looking call in a short text. Never raises: what is not there is said in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The calls that a wish becomes, in the order in which they are carried out, and what choosing them cost.

    `calls` is never empty: a wish that is not granted is one `Decline`. `confidence`: 0 to 1, of the least certain
    call; below 0.5 a person should look first.
    """

    calls: tuple[ActingCall, ...]
    turns: tuple[Turn, ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompts' tokens, those that the server knew already."""
    completion_tokens: int = 0
    confidence: float = 1.0


class Planner(Protocol):
    """Chooses calls. Raises the errors of `model.api.Engine` where it asks one."""

    async def plan(self, wish: Wish, look: Look) -> Plan:
        """The calls for a wish; `look` may be asked any number of times, within the planner's own bounds."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The planner that needs no model: its calls were given."""

    calls: tuple[ActingCall, ...]

    async def plan(self, wish: Wish, look: Look) -> Plan:
        """The given calls, whatever the wish."""
        return Plan(calls=self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A place to be filled with new code. `instruction` says with what, in words; it may be empty."""

    prefix: str
    suffix: str
    path: str
    language: str
    instruction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The text of a hole, "" where there is nothing to say, and what asking for it cost."""

    text: str
    usage: Usage


Filling = Callable[[Hole], Filled]
"""Fills a hole. Called on a worker thread, and may block."""
Fill = Callable[[Hole], str]
"""The same for the tools, which need not know what it costs."""
