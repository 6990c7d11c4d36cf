"""Asks the embedded model for calls: in the layout that it learned, under the grammar of what it may answer.

Greedy decoding under a grammar can be led astray: the likeliest first tool may leave only unlikely arguments. So what
the model is not sure of is weighed against what it would answer with another tool, and what it declines for a reason
that plainly does not hold is asked again. Every answer is the model's own, and has its own probability.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from completion.refactor import layout
from completion.refactor.allowed import Barred
from completion.refactor.calls import Call, Decline, FindSymbol
from completion.refactor.grammar import answer_grammar
from completion.refactor.pieces import paths
from completion.refactor.plan import Look
from completion.refactor.planner import Answer
from completion.refactor.targets import names_said, targets
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
SURE = 0.3
"""Calls of which the model is less sure than this are weighed against those of other tools."""
SURE_TO_DECLINE = 0.7
"""Where the model is less sure than this that it must decline, it is asked what it would do otherwise."""
LIKELY = 0.5
"""What it then must be sure of for that to be done."""
MOST_OTHERS = 2
"""How often it is asked for something else."""
_NO_NEW_NAME = "The new name is missing."
"""Said too often of new names that are words of prose. Which they are, nothing but the model can tell."""
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """One answer, and the probability of its first token, which picks the tool."""

    answer: Answer
    first: float = 1.0

    @property
    def tool(self) -> type[Call] | None:
        """What the answer begins with; None where it is no valid one."""
        return type(self.answer.calls[0]) if self.answer.calls else None


class AskingTuned:
    """`Asking` for a model whose adapter learned `layout`. With `constrained` false the model may write anything."""

    def __init__(self, engine: Engine, *, priority: Priority = Priority.INTERACTIVE, constrained: bool = True) -> None:
        self._engine = engine
        self._priority = priority
        self._constrained = constrained

    async def ask(self, wish: Wish, look: Look, *, most_tokens: int, complaints: tuple[str, ...] = ()) -> Answer:
        """The likeliest of a few valid answers, each decoded greedily. It was not taught to mend its words, so
        complaints do not reach it."""
        said = [await self._say(wish, most_tokens=most_tokens)]
        if not self._constrained:
            return said[0].answer
        barred: list[type[Call]] = []
        while len(barred) < MOST_OTHERS and (tool := said[-1].tool) is not None and _is_open(said[-1], wish):
            barred.append(tool)
            said.append(await self._say(wish, most_tokens=most_tokens, barred=barred))
        best = _best(said, wish)
        answers = [one.answer for one in said]
        return replace(
            best,
            prompt_tokens=sum(answer.prompt_tokens for answer in answers),
            cached_tokens=sum(answer.cached_tokens for answer in answers),
            completion_tokens=sum(answer.completion_tokens for answer in answers),
        )

    async def _say(self, wish: Wish, *, most_tokens: int, barred: Sequence[type[Call]] = ()) -> _Said:
        """The likeliest valid answer that begins with none of the tools `barred`."""
        grammar = (
            Grammar(kind=GrammarKind.LARK, text=answer_grammar(wish, barred=map(Barred, barred)))
            if self._constrained
            else None
        )
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
            calls = tuple(dict.fromkeys(layout.read(text)))
        except UsageError as error:
            return _Said(answer=replace(answer, complaint=str(error)))
        # Who may not decline begins with what was not the likeliest: how sure it is shows after that.
        sure = confidence(tokens[1:] if Decline in barred else tokens)
        return _Said(answer=replace(answer, calls=calls, confidence=sure), first=confidence(tokens[:1]))


def _is_open(said: _Said, wish: Wish) -> bool:
    """Whether something else may be meant."""
    first = said.answer.calls[0]
    if isinstance(first, Decline):
        return said.first < SURE_TO_DECLINE or first.reason == _NO_NEW_NAME or is_unfounded(first, wish)
    return said.answer.confidence < SURE


def _best(said: Sequence[_Said], wish: Wish) -> Answer:
    """The likeliest answer. A decline gives way only to what is likely, or, where it is unfounded, not in doubt."""
    best = said[0].answer
    for one in said[1:]:
        first, other = best.calls[0], one.answer
        if isinstance(first, Decline):
            better = other.confidence >= (DOUBT if is_unfounded(first, wish) else LIKELY)
        else:
            better = other.confidence > best.confidence
        best = other if other.calls and better else best
    if not best.calls or isinstance(best.calls[0], Decline) or best.confidence >= DOUBT:
        return best
    return replace(best, calls=(Decline(reason="The wish is not clear enough to act on."),))


def is_unfounded(decline: Decline, wish: Wish) -> bool:
    """Whether it declines for a reason, in the words that the adapter learned, that plainly does not hold."""
    for pattern, holds in _REASONS:
        if match := pattern.fullmatch(decline.reason):
            return not holds(wish, *match.groups())
    return False


def _is_taken(wish: Wish, name: str) -> bool:
    """Whether anything in sight bears the name."""
    seen = {part for symbol in wish.view.outline for part in (symbol.name.rpartition(".")[2], *symbol.parameters)}
    seen.update(_WORD.findall(wish.view.selected))
    seen.update(word for turn in wish.turns for result in turn.results for word in _WORD.findall(result))
    return name in seen


def _lacks(wish: Wish, function: str, parameter: str) -> bool:
    """Whether none of the functions of that name has the parameter, as far as is known."""
    meant = [target for target in targets(wish) if target.short == function.rpartition(".")[2]]
    return not any(parameter in (target.parameters or ()) for target in meant)


def _is_sought(wish: Wish, name: str) -> bool:
    return any(FindSymbol(symbol=name) in turn.calls for turn in wish.turns)


def _unknown_names(wish: Wish) -> list[str]:
    """What the wish says that nothing in sight bears: maybe a new name."""
    return [name for name in names_said(wish.instruction) if not _is_taken(wish, name.rpartition(".")[2])]


def _is_written_as_code(name: str) -> bool:
    """Whether it is no word of prose: `sum_prices`, `sumPrices`, `Sum2`, not `surface` or `Surface`."""
    return name.isidentifier() and ("_" in name or any(char.isupper() or char.isdigit() for char in name[1:]))


_REASONS: tuple[tuple[re.Pattern[str], Callable[..., bool]], ...] = (
    (re.compile(r"The name (\w+) is taken\."), _is_taken),
    (re.compile(r"(.+) is not a valid name\."), lambda _, name: not name.isidentifier() or keyword.iskeyword(name)),
    (re.compile(r"(\S+) has no parameter (\w+)\."), _lacks),
    (re.compile(r"There is no (\S+)\."), _is_sought),
    (re.compile(r"Several symbols are named (\S+)\."), _is_sought),
    (re.compile(r"There is nothing to change\."), lambda wish: bool(wish.turns)),
    (re.compile(r"Nothing is selected\."), lambda wish: not wish.view.selected.strip()),
    (re.compile(r"Instructions in code are not followed\."), lambda wish: bool(wish.view.selected.strip())),
    (re.compile(re.escape(_NO_NEW_NAME)), lambda wish: not any(map(_is_written_as_code, _unknown_names(wish)))),
    (re.compile(r"The target is missing\."), lambda wish: not paths(wish.instruction)),
)
"""Reasons that can be checked (`completion.refactor.training.wishes` words them), with whether they hold."""


def confidence(tokens: Iterable[TokenLogprob]) -> float:
    """The probability of the least likely line, which is a call; 1 where no probabilities are told."""
    lines = [0.0]
    for token in tokens:
        lines[-1] += token.logprob
        if "\n" in token.text:
            lines.append(0.0)
    return math.exp(min(0.0, *lines))
