"""How much a prompt may hold: as many tokens as the model reads in the time that a first answer may take.

Measured on the way: the engine says how many tokens it read, and how long that took. Sizes move in steps, since each
change shifts the window and costs reading all of it anew.
"""

from __future__ import annotations

from completion.settings import PromptBudget
from model.api import EngineTimings, Usage

STEPS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Multiples of the budget that the settings name."""
_CHARACTERS_PER_TOKEN = 3.3
_LEAST_READ_TOKENS = 64
"""Fewer tokens say little about a rate."""
_MEMORY = 0.7
_STICKINESS = 1.15
"""The rate must exceed a step by so much before that step is taken, so that noise moves nothing."""


class PromptPace:
    """What is known of one model's speed."""

    def __init__(self) -> None:
        self._tokens_per_ms: float | None = None
        self._step = 1.0

    @property
    def tokens_per_second(self) -> float | None:
        """Prefill speed; None before anything of size was read."""
        return None if self._tokens_per_ms is None else self._tokens_per_ms * 1000

    def observe(self, usage: Usage, timings: EngineTimings) -> None:
        """Learn from one answer."""
        read_tokens = usage.prompt_tokens - usage.cached_tokens
        if read_tokens < _LEAST_READ_TOKENS or timings.prefill_ms <= 0:
            return
        rate = read_tokens / timings.prefill_ms
        known = self._tokens_per_ms
        self._tokens_per_ms = rate if known is None else _MEMORY * known + (1 - _MEMORY) * rate

    def budget(self, base: PromptBudget, *, target_ms: float, most: float) -> PromptBudget:
        """`base`, larger or smaller by a step, so that reading it anew takes about `target_ms`.

        Before anything is known, and with a `most` of 1 for a fast engine, it is `base` itself.
        """
        if self._tokens_per_ms is not None:
            wanted = self._tokens_per_ms * target_ms * _CHARACTERS_PER_TOKEN
            fits = wanted / (base.prefix_characters + base.suffix_characters)
            limit = [step for step in STEPS if step <= max(most, STEPS[0])]
            lower = max((step for step in limit if step <= fits), default=STEPS[0])
            upper = max((step for step in limit if step * _STICKINESS <= fits), default=STEPS[0])
            self._step = min(max(self._step, upper), lower)
        return base.scaled(self._step)
