"""Drafts by prompt lookup (Saxena 2023): what followed the last few tokens before is likely to follow again.

Guesses tokens, and decides how many are worth checking at once. Runs no model: a wrong guess costs time, never a token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GRAM_TOKENS = 3
"""So many tokens must stand alike before what followed them is proposed again."""

_PRIOR_ACCEPTANCE = 0.6
_PRIOR_TOKENS = 3.0
_MEMORY = 0.95
_REGRET = 0.99
_COST_MEMORY = 0.9
_PRIOR_COST_PER_ROW = 0.3


class PromptLookup:
    """Where each run of GRAM_TOKENS tokens stood last, over a text that grows."""

    def __init__(self, tokens: list[int]) -> None:
        self._tokens: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}
        self.extend(tokens)

    def extend(self, tokens: list[int]) -> None:
        """The text went on. The run at its very end is not entered: nothing follows it yet."""
        first = max(len(self._tokens), GRAM_TOKENS)
        self._tokens += tokens
        known = self._tokens[first - GRAM_TOKENS :]
        grams = zip(*(known[place:] for place in range(GRAM_TOKENS)), strict=False)
        for end, gram in zip(range(first, len(self._tokens)), grams, strict=False):
            self._ends[gram] = end

    def propose(self, most: int) -> list[int]:
        """Up to `most` tokens that followed the last place where the text ended as it does now."""
        end = self._ends.get(tuple(self._tokens[-GRAM_TOKENS:]))
        return [] if end is None else self._tokens[end : end + most]


@dataclass(slots=True)
class StepCosts:
    """Milliseconds that a decode step takes by how many tokens it computes, from experience.

    Until a number of tokens has been tried, each token beyond the first is taken to cost a share of the first.
    """

    _spent_ms: dict[int, float] = field(default_factory=dict)

    def record(self, rows: int, spent_ms: float) -> None:
        """A step was taken. One that was held up by others on the machine counts as no more than twice its due."""
        known = self._expected(rows) or spent_ms
        self._spent_ms[rows] = _COST_MEMORY * known + (1 - _COST_MEMORY) * min(spent_ms, 2 * known)

    def ratio(self, rows: int) -> float:
        """How much dearer than one token alone."""
        alone, spent = self._spent_ms.get(1), self._expected(rows)
        return spent / alone if alone and spent else _prior_cost(rows)

    def fade(self) -> None:
        """Forget a little of what several tokens cost, so that bad luck is not held against them for ever."""
        alone = self._spent_ms.get(1)
        if alone is None:
            return
        for rows in self._spent_ms.keys() - {1}:
            self._spent_ms[rows] = _REGRET * self._spent_ms[rows] + (1 - _REGRET) * alone * _prior_cost(rows)

    def _expected(self, rows: int) -> float | None:
        alone = self._spent_ms.get(1)
        return self._spent_ms.get(rows, None if alone is None else alone * _prior_cost(rows))


def _prior_cost(rows: int) -> float:
    return 1 + _PRIOR_COST_PER_ROW * (rows - 1)


class Drafter:
    """The drafts of one generation, as long as they pay."""

    def __init__(self, prompt: list[int], costs: StepCosts) -> None:
        self._lookup = PromptLookup(prompt)
        self._costs = costs
        self._tried = _PRIOR_TOKENS
        self._right = _PRIOR_TOKENS * _PRIOR_ACCEPTANCE

    @property
    def acceptance(self) -> float:
        """The share of drafted tokens that proved right lately."""
        return self._right / self._tried

    def draft(self, most: int) -> list[int]:
        """Tokens to check beside the next one: none, or as many (up to `most`) as promise the most for their cost."""
        proposed = self._lookup.propose(most)
        best, length = 1.0, 0
        expected = likely = 1.0
        for count in range(1, len(proposed) + 1):
            likely *= self.acceptance
            expected += likely
            if expected / self._costs.ratio(count + 1) > best:
                best, length = expected / self._costs.ratio(count + 1), count
        if proposed and not length:
            # Drafts that do not pay are left alone for a while, not for ever.
            self._tried = _REGRET * self._tried + (1 - _REGRET) * _PRIOR_TOKENS
            self._right = _REGRET * self._right + (1 - _REGRET) * _PRIOR_TOKENS * _PRIOR_ACCEPTANCE
            self._costs.fade()
        return proposed[:length]

    def follow(self, tokens: list[int]) -> None:
        """The text went on by tokens that nothing was to be learnt from."""
        self._lookup.extend(tokens)

    def took(self, tokens: list[int], *, drafted: int) -> None:
        """The text went on by `tokens`, all but the last of which had been drafted; `drafted` were checked."""
        self._lookup.extend(tokens)
        if not drafted:
            return
        right = len(tokens) - 1
        wrong = int(right < drafted)  # what stands behind a wrong token says nothing
        self._tried = _MEMORY ** (right + wrong) * self._tried + right + wrong
        self._right = _MEMORY ** (right + wrong) * self._right + right
