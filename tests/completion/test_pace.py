"""Prompts as large as the model's speed allows."""

from __future__ import annotations

from completion.pace import STEPS, PromptPace
from completion.settings import PromptBudget
from model.api import EngineTimings, Usage

BASE = PromptBudget(prefix_characters=2000, suffix_characters=600)


def read(pace: PromptPace, tokens: int, ms: float) -> None:
    pace.observe(Usage(prompt_tokens=tokens + 10, cached_tokens=10, completion_tokens=1), EngineTimings(prefill_ms=ms))


def budget(pace: PromptPace, most: float = 8.0) -> PromptBudget:
    return pace.budget(BASE, target_ms=1000.0, most=most)


def test_before_anything_is_known_the_budget_is_the_settings() -> None:
    assert budget(PromptPace()) == BASE


def test_few_tokens_say_nothing() -> None:
    pace = PromptPace()
    read(pace, 5, 1000.0)
    assert pace.tokens_per_second is None


def test_a_slow_model_gets_a_smaller_prompt_and_a_fast_one_a_larger() -> None:
    slow, fast = PromptPace(), PromptPace()
    read(slow, 100, 1000.0)
    read(fast, 3000, 1000.0)
    assert budget(slow) == BASE.scaled(STEPS[0])
    assert budget(fast) == BASE.scaled(3.0)
    assert budget(fast, most=1.0) == BASE


def test_noise_around_a_step_moves_nothing() -> None:
    pace = PromptPace()
    read(pace, 900, 1000.0)
    first = budget(pace)
    for ms in (1050.0, 960.0, 1040.0, 950.0, 1060.0):
        read(pace, 900, ms)
        assert budget(pace) == first
