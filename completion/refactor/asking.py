"""Asks the embedded model for calls: in the layout that it learned, under the grammar of what it may answer.

Greedy decoding under a grammar can be led astray: the likeliest beginning may leave only unlikely ends. So where the
model is not sure, the likeliest of all valid answers is searched for, branch by branch: what an answer chose is barred
and the model asked again, as long as another answer may still be likelier. What it declines for a reason that plainly
does not hold is asked again too. Every answer is the model's own, and has its own probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from completion.refactor import layout
from completion.refactor.allowed import Allowed, Barred
from completion.refactor.calls import AnyCall, Decline, FindSymbol
from completion.refactor.choices import choices
from completion.refactor.grammar import answer_grammar
from completion.refactor.meant import meant
from completion.refactor.plan import Look
from completion.refactor.planner import Answer
from completion.refactor.reasons import NO_NEW_NAME, is_unfounded
from completion.refactor.wish import Wish
from model.api import (
    Engine,
    FinishReason,
    GenerateRequest,
    Grammar,
    GrammarKind,
    Priority,
    SamplingParams,
    TokenLogprob,
)
from model.errors import RequestError, UsageError

MOST_ANSWER_TOKENS = 512
SURE = 0.5
"""Answers of which the model is at least as sure are taken as they come: none can be likelier."""
DOUBT = 0.05
"""Calls of which the model itself is less sure than this are not made: the grammar had to push it there."""
LEAST, ALONE = 0.002, 0.9
"""Yet what is as likely as this, and has so large a part of all valid answers that were heard, was only misspelled."""
SURE_TO_DECLINE = 0.7
"""Where the model is less sure than this that it must decline, it is asked what it would do otherwise."""
LIKELY = 0.5
"""What it then must be sure of for that to be done."""
LESS_LIKELY = 0.25
"""The same where it misses a new name: it often takes one for a word of prose."""
MOST_ASKED = 4
"""How many answers are heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """One answer. `tokens`: what it was spelled in; `calls`: what it says, where it is valid."""

    answer: Answer
    tokens: tuple[TokenLogprob, ...] = ()
    calls: tuple[AnyCall, ...] = ()

    @property
    def first(self) -> float:
        """The probability of its first token."""
        return math.exp(min(0.0, self.tokens[0].logprob)) if self.tokens else 1.0

    @property
    def tool(self) -> float:
        """The probability of its first tool."""
        return next((choice.own for choice in choices(self.calls, self.tokens)), self.first)

    @property
    def share(self) -> float:
        """The probability of the answer, among all that the model might say; of one that only shows what to look for,
        that of the symbol in it."""
        if self.answer.calls and isinstance(self.answer.calls[0], FindSymbol):
            named = (one for one in choices(self.calls, self.tokens) if one.barred.value == self.answer.calls[0].symbol)
            return max((one.before * one.own for one in named), default=0.0)
        return math.exp(min(0.0, sum(token.logprob for token in self.tokens)))

    def is_made(self, wish: Wish) -> bool:
        """Whether it has calls that are worth making: none that decline, or look for what is in view."""
        seen = Allowed(wish).is_seen
        return bool(self.calls) and not any(
            isinstance(call, Decline) or (isinstance(call, FindSymbol) and seen(call.symbol)) for call in self.calls
        )


@dataclass(frozen=True, slots=True)
class _Branch:
    """Answers that differ from one that was heard in its choice number `at`; none can be likelier than `most`."""

    most: float
    at: int = 0
    barred: frozenset[Barred] = frozenset()


class AskingTuned:
    """`Asking` for a model whose adapter learned `layout`. With `constrained` false the model may write anything."""

    def __init__(self, engine: Engine, *, priority: Priority = Priority.INTERACTIVE, constrained: bool = True) -> None:
        self._engine = engine
        self._priority = priority
        self._constrained = constrained

    async def ask(self, wish: Wish, look: Look, *, most_tokens: int, complaints: tuple[str, ...] = ()) -> Answer:
        """The likeliest valid answer that a few questions find. It was not taught to mend its words, so complaints do
        not reach it."""
        if not self._constrained:
            return (await self._say(wish, None, most_tokens=most_tokens)).answer
        said = await self._heard(wish, most_tokens=most_tokens)
        best = _best(said, wish)
        answers = [one.answer for one in said]
        return replace(
            best,
            prompt_tokens=sum(answer.prompt_tokens for answer in answers),
            cached_tokens=sum(answer.cached_tokens for answer in answers),
            completion_tokens=sum(answer.completion_tokens for answer in answers),
        )

    async def _heard(self, wish: Wish, *, most_tokens: int) -> list[_Said]:
        """Answers, the greedy one first, until none can be likelier than the best, or it is good enough."""
        open_, said = [_Branch(1.0)], list[_Said]()
        for _ in range(MOST_ASKED):
            branch = max(open_, key=lambda one: one.most, default=_Branch(0.0))
            if branch.most <= max((one.share for one in said if one.is_made(wish)), default=0.0):
                break
            open_.remove(branch)
            try:
                one = await self._say(wish, branch.barred, most_tokens=most_tokens)
            except RequestError:
                if not branch.barred:
                    raise
                continue  # with all that is barred, what was begun cannot be ended
            known = one.calls in [other.calls for other in said]
            said.append(one)
            if known:
                continue  # whose branches are open
            if not _is_open(one, wish, passed=_passed(said)):
                break
            open_ += _branches(one, branch, wish)
        return said

    async def _say(self, wish: Wish, barred: Iterable[Barred] | None, *, most_tokens: int) -> _Said:
        """The greedy answer that has nothing of what is barred; any text with None."""
        grammar = None
        if barred is not None:
            grammar = Grammar(kind=GrammarKind.LARK, text=answer_grammar(wish, barred=barred))
        sampling = SamplingParams(max_tokens=min(most_tokens, MOST_ANSWER_TOKENS), logprobs=0, grammar=grammar)
        request = GenerateRequest(prompt=layout.prompt(wish), sampling=sampling, priority=self._priority)
        text, tokens, answer, reason = "", list[TokenLogprob](), Answer(), None
        async for chunk in self._engine.generate(request):
            text += chunk.text
            tokens += chunk.logprobs
            reason = chunk.finish_reason
            if (usage := chunk.usage) is not None:
                answer = Answer(
                    prompt_tokens=usage.prompt_tokens,
                    cached_tokens=usage.cached_tokens,
                    completion_tokens=usage.completion_tokens,
                )
        if reason is FinishReason.LENGTH:
            return _Said(answer=replace(answer, complaint="The answer has no end."))
        try:
            calls = layout.read(text)
        except UsageError as error:
            return _Said(answer=replace(answer, complaint=str(error)))
        said = replace(answer, calls=meant(calls, wish), confidence=confidence(tokens))
        return _Said(answer=said, tokens=tuple(tokens), calls=calls)


def _passed(said: Iterable[_Said]) -> float:
    """How likely it is that the model declines, where it was heard to."""
    declined = (one.tool for one in said if one.calls and isinstance(one.calls[0], Decline))
    return min(1 - 1e-9, max(declined, default=0.0))


def _is_open(said: _Said, wish: Wish, *, passed: float) -> bool:
    """Whether something else may be meant."""
    if not said.calls:
        return False
    first = said.calls[0]
    if isinstance(first, Decline):
        return said.first < SURE_TO_DECLINE or first.reason == NO_NEW_NAME or is_unfounded(first, wish)
    return said.share < SURE * (1 - passed) or not said.is_made(wish)


def _branches(said: _Said, branch: _Branch, wish: Wish) -> list[_Branch]:
    """What else there is to say than this, found on a branch (after Lawler's and Murty's partitions)."""
    found = []
    for at, choice in enumerate(choices(said.calls, said.tokens)):
        if at < branch.at:
            continue  # another branch has those
        # At its own choice a branch has lost what was barred there before.
        most = branch.most - choice.before * choice.own if at == branch.at else choice.before * (1 - choice.own)
        found.append(_Branch(most, at, branch.barred | {choice.barred}))
    return found if said.is_made(wish) else found[:1]


def _best(said: Sequence[_Said], wish: Wish) -> Answer:
    """The likeliest calls. Where the first answer was to decline, they must be likely among all other answers, or,
    where its reason does not hold, not in doubt."""
    first, shares = said[0], _shares(said, wish)
    if not shares:
        return first.answer
    calls = max(shares, key=lambda one: shares[one])
    best = next(one.answer for one in said if one.answer.calls == calls)
    passed, reason = _passed(said), first.calls[0]
    share = shares[calls] / (1 - passed)
    alone = shares[calls] >= max(LEAST, ALONE * sum(shares.values()))
    if isinstance(reason, Decline):
        if is_unfounded(reason, wish):
            return best if alone or share >= DOUBT else first.answer
        return best if share >= (LESS_LIKELY if reason.reason == NO_NEW_NAME else LIKELY) else first.answer
    if max(share, best.confidence) >= DOUBT or (alone and shares[calls] >= passed):
        return best
    return replace(best, calls=(Decline(reason="The wish is not clear enough to act on."),))


def _shares(said: Iterable[_Said], wish: Wish) -> dict[tuple[AnyCall, ...], float]:
    """How likely all that is worth doing is, in whatever way it was said."""
    heard = {one.calls: one for one in said if one.is_made(wish)}
    shares: dict[tuple[AnyCall, ...], float] = {}
    for one in heard.values():
        # What is to be looked for is the same whatever was to be done with it.
        looks = isinstance(one.answer.calls[0], FindSymbol)
        known = shares.get(one.answer.calls, 0.0)
        shares[one.answer.calls] = max(known, one.share) if looks else known + one.share
    return shares


def confidence(tokens: Iterable[TokenLogprob]) -> float:
    """The probability of the least likely line, which is a call; 1 where no probabilities are told."""
    lines = [0.0]
    for token in tokens:
        lines[-1] += token.logprob
        if "\n" in token.text:
            lines.append(0.0)
    return math.exp(min(0.0, *lines))
