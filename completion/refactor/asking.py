"""Asks the embedded model for calls: in the layout that it learned, under the grammar of what it may answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from completion.refactor import layout
from completion.refactor.calls import ACTING, AnyCall, Decline
from completion.refactor.grammar import answer_grammar
from completion.refactor.plan import Look
from completion.refactor.planner import Answer
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
from model.errors import UsageError

MOST_ANSWER_TOKENS = 512
DOUBT = 0.05
"""Calls of which the model itself is less sure than this are not made: the grammar had to push it there."""
_TAKEN = re.compile(r"The name (\w+) is taken")
"""The reason, as the adapter learned to say it, that can be checked."""
_WORD = re.compile(r"[^\W\d]\w*")


class AskingTuned:
    """`Asking` for a model whose adapter learned `layout`. With `constrained` false the model may write anything."""

    def __init__(self, engine: Engine, *, priority: Priority = Priority.INTERACTIVE, constrained: bool = True) -> None:
        self._engine = engine
        self._priority = priority
        self._constrained = constrained

    async def ask(self, wish: Wish, look: Look, *, most_tokens: int, complaints: tuple[str, ...] = ()) -> Answer:
        """Greedy: the likeliest valid answer. It was not taught to mend its words, so complaints do not reach it.

        A decline because a name is taken, which nothing in sight bears, is not believed: the model is asked once more
        what it would do otherwise.
        """
        answer = await self._ask(wish, most_tokens=most_tokens, may_decline=True)
        if not self._constrained or not any(_is_unfounded(call, wish) for call in answer.calls):
            return answer
        again = await self._ask(wish, most_tokens=most_tokens, may_decline=False)
        return replace(
            again,
            prompt_tokens=answer.prompt_tokens + again.prompt_tokens,
            completion_tokens=answer.completion_tokens + again.completion_tokens,
        )

    async def _ask(self, wish: Wish, *, most_tokens: int, may_decline: bool) -> Answer:
        text = answer_grammar(wish, may_decline=may_decline)
        grammar = Grammar(kind=GrammarKind.LARK, text=text) if self._constrained else None
        sampling = SamplingParams(max_tokens=min(most_tokens, MOST_ANSWER_TOKENS), logprobs=0, grammar=grammar)
        request = GenerateRequest(prompt=layout.prompt(wish), sampling=sampling, priority=self._priority)
        text, tokens, counts, reason = "", list[TokenLogprob](), (0, 0), None
        async for chunk in self._engine.generate(request):
            text += chunk.text
            tokens += chunk.logprobs
            reason = chunk.finish_reason
            if chunk.usage is not None:
                counts = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        if reason is FinishReason.LENGTH:
            return Answer(complaint="The answer has no end.", prompt_tokens=counts[0], completion_tokens=counts[1])
        try:
            calls = layout.read(text)
        except UsageError as error:
            return Answer(complaint=str(error), prompt_tokens=counts[0], completion_tokens=counts[1])
        # Who may not decline begins with what was not the likeliest: how sure it is shows after that.
        sure = confidence(tokens if may_decline else tokens[1:])
        if sure < DOUBT and any(isinstance(call, ACTING) for call in calls):
            calls = (Decline(reason="The wish is not clear enough to act on."),)
        return Answer(calls=calls, prompt_tokens=counts[0], completion_tokens=counts[1], confidence=sure)


def _is_unfounded(call: AnyCall, wish: Wish) -> bool:
    """Whether a call declines because of a name that nothing in sight bears."""
    claim = _TAKEN.search(call.reason) if isinstance(call, Decline) else None
    if claim is None:
        return False
    seen = {part for symbol in wish.view.outline for part in (symbol.name.rpartition(".")[2], *symbol.parameters)}
    seen.update(_WORD.findall(wish.view.selected))
    seen.update(word for turn in wish.turns for result in turn.results for word in _WORD.findall(result))
    return claim[1] not in seen


def confidence(tokens: Iterable[TokenLogprob]) -> float:
    """The probability of the least likely line, which is a call; 1 where no probabilities are told."""
    lines = [0.0]
    for token in tokens:
        lines[-1] += token.logprob
        if "\n" in token.text:
            lines.append(0.0)
    return math.exp(min(0.0, *lines))
