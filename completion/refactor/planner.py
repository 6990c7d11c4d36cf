"""The planner that asks a model: looks as often as it is worth it, then acts, or declines. Knows no prompts.

How a model is asked is `Asking`: the embedded model's own layout (`completion.refactor.asking`), or a conversation with
tools (`completion.refactor.conversation`). Turns, tokens and time are bounded, and what is not a valid call is never
carried out: a model that finds none declines.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

from completion.refactor.calls import LOOKING, ActingCall, AnyCall, Decline, LookingCall
from completion.refactor.grammar import MOST_CALLS
from completion.refactor.plan import Look, Plan
from completion.refactor.wish import Turn, Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one wish may cost. `repairs`: how often a model is told what was wrong with its calls."""

    turns: int = 6
    completion_tokens: int = 4096
    seconds: float = 120.0
    repairs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said in one turn. `confidence`: 0 to 1, of the least certain call; 1 where the model tells none.

    With `complaint` the calls are not valid, and it says why, in words that the model can act on.
    """

    calls: tuple[AnyCall, ...] = ()
    complaint: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    confidence: float = 1.0


class Asking(Protocol):
    """Asks a model for the calls of the next turn. Raises the errors of `model.api.Engine`."""

    async def ask(self, wish: Wish, look: Look, *, most_tokens: int, complaints: tuple[str, ...] = ()) -> Answer:
        """`complaints`: what was wrong with the answers to this very question so far."""
        ...


class ModelPlanner:
    """`Planner` over a model."""

    def __init__(self, asking: Asking, *, bounds: Bounds | None = None) -> None:
        self._asking = asking
        self._bounds = bounds or Bounds()

    async def plan(self, wish: Wish, look: Look) -> Plan:
        """The calls for a wish. What the model looks up is answered by `look`, on a thread of its own."""
        run = _Run()
        try:
            async with asyncio.timeout(self._bounds.seconds):
                calls = await self._calls(wish, look, run)
        except TimeoutError:
            calls = (Decline(reason=f"No plan within {self._bounds.seconds:.0f} seconds."),)
        return Plan(
            calls=calls,
            turns=tuple(run.turns),
            prompt_tokens=run.prompt_tokens,
            cached_tokens=run.cached_tokens,
            completion_tokens=run.completion_tokens,
            confidence=run.confidence,
        )

    async def _calls(self, wish: Wish, look: Look, run: _Run) -> tuple[ActingCall, ...]:
        for _ in range(self._bounds.turns):
            calls = await self._turn(replace(wish, turns=(*wish.turns, *run.turns)), look, run)
            looking = [call for call in calls if isinstance(call, LOOKING)]
            if not looking:
                return cast(tuple[ActingCall, ...], calls)
            known = {call for turn in run.turns for call in turn.calls}
            asked = tuple(call for call in dict.fromkeys(looking) if call not in known)
            if not asked:
                return (Decline(reason="The model looks for the same again and finds no way to act."),)
            results = [await asyncio.to_thread(look, cast(LookingCall, call)) for call in asked]
            run.turns.append(Turn(calls=asked, results=tuple(results)))
        return (Decline(reason=f"No plan after looking {len(run.turns)} times."),)

    async def _turn(self, wish: Wish, look: Look, run: _Run) -> tuple[AnyCall, ...]:
        """The valid calls of one turn, or a decline."""
        complaints: list[str] = []
        while True:
            left = self._bounds.completion_tokens - run.completion_tokens
            if left < 1:
                return (Decline(reason=f"No plan within {self._bounds.completion_tokens} tokens."),)
            answer = await self._asking.ask(wish, look, most_tokens=left, complaints=tuple(complaints))
            run.count(answer)
            complaint = answer.complaint or _complaint(answer.calls)
            if not complaint:
                run.confidence = min(run.confidence, answer.confidence)
                return answer.calls
            complaints.append(complaint)
            if len(complaints) > self._bounds.repairs:
                return (Decline(reason=f"The model made no valid call: {complaint}"),)


@dataclass(slots=True)
class _Run:
    """One plan as it grows."""

    turns: list[Turn] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    confidence: float = 1.0

    def count(self, answer: Answer) -> None:
        """Add what an answer cost."""
        self.prompt_tokens += answer.prompt_tokens
        self.cached_tokens += answer.cached_tokens
        self.completion_tokens += answer.completion_tokens


def _complaint(calls: tuple[AnyCall, ...]) -> str:
    """What is wrong with these calls taken together; "" where nothing is."""
    if not calls:
        return "You called no tool. Call one, or call decline."
    if len(calls) > MOST_CALLS:
        return f"{len(calls)} calls are too many: make at most {MOST_CALLS}."
    if len(calls) > 1 and any(isinstance(call, Decline) for call in calls):
        return "Decline alone, or not at all."
    return ""
