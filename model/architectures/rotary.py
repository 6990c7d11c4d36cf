"""Rotary positions and their long-context variants, from a configuration to `RopeConfig`.

Sources: YaRN (arXiv 2309.00071), Llama 3.1's reference (`apply_scaling`), HF's `rope_parameters`.
"""

from __future__ import annotations

from math import ceil, floor, log, pi

from model.architectures.settings import Settings
from model.config import RopeConfig
from model.errors import CheckpointError


def read_rope(settings: Settings, *, dimensions: int, base: float = 10000.0, partial: bool = True) -> RopeConfig:
    """From `rope_parameters`, or from the older `rope_theta` with `rope_scaling`; `base` is what absence means.

    `partial`: does the file's share of a head that turns count? Else `dimensions` are those that do.
    Raises `CheckpointError` for variants whose frequencies depend on the length of the text.
    """
    scaling = settings.section("rope_parameters") or settings.section("rope_scaling") or Settings({}, settings.source)
    base = scaling.number("rope_theta", settings.number("rope_theta", base))
    if base <= 1:
        raise (scaling if "rope_theta" in scaling.values else settings).wrong("rope_theta")
    if partial:
        share = scaling.number("partial_rotary_factor", settings.number("partial_rotary_factor", 1))
        dimensions = int(dimensions * share)
    trained = settings.integer("max_position_embeddings", 0)
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    if kind == "default":
        return RopeConfig(base=base, dimensions=dimensions)
    if kind == "linear":
        factors = (_factor(scaling),) * (dimensions // 2)
        return RopeConfig(base=base, dimensions=dimensions, factors=factors)
    if kind == "llama3":
        return RopeConfig(base=base, dimensions=dimensions, factors=_llama3(scaling, base, dimensions))
    if kind == "yarn":
        return yarn_rope(scaling, base=base, dimensions=dimensions, trained_tokens=trained)
    raise CheckpointError(
        f"{settings.source} scales its rotary positions by {kind!r}, which is not supported.",
        hint="Supported: default, linear, llama3, yarn. Use another checkpoint.",
    )


def yarn_rope(scaling: Settings, *, base: float, dimensions: int, trained_tokens: int = 0) -> RopeConfig:
    """YaRN in the words of HF's `rope_parameters`. `trained_tokens` is what is scaled where they do not say."""
    factors = _yarn(scaling, base, dimensions, trained_tokens)
    return RopeConfig(base=base, dimensions=dimensions, factors=factors, scale=_yarn_attention(scaling))


def _factor(scaling: Settings) -> float:
    """By how much waves are stretched."""
    factor = scaling.number("factor")
    if factor <= 0:
        raise scaling.wrong("factor")
    return factor


def yarn_magnitude(factor: float, weight: float) -> float:
    """By how much YaRN sharpens attention for a context that is `factor` times as long."""
    return 1.0 if factor <= 1 else 0.1 * weight * log(factor) + 1.0


def _llama3(scaling: Settings, base: float, dimensions: int) -> tuple[float, ...]:
    """Long waves are stretched by the factor, short ones not, those between in part."""
    factor, trained = _factor(scaling), scaling.number("original_max_position_embeddings")
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    if high <= low:
        raise scaling.wrong("high_freq_factor")
    factors = []
    for index in range(0, dimensions, 2):
        turns = trained / (2 * pi * base ** (index / dimensions))
        kept = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1 / ((1 - kept) / factor + kept))
    return tuple(factors)


def _yarn(scaling: Settings, base: float, dimensions: int, trained: int) -> tuple[float, ...]:
    """Dimensions that turn often keep their speed, those that turn seldom are slowed, with a ramp between."""
    factor = _factor(scaling)
    original = scaling.integer("original_max_position_embeddings", trained)
    if original == 0:
        raise scaling.wrong("original_max_position_embeddings")

    def dimension_that_turns(times: float) -> float:
        return dimensions * log(original / (times * 2 * pi)) / (2 * log(base))

    low = dimension_that_turns(scaling.number("beta_fast", 32))
    high = dimension_that_turns(scaling.number("beta_slow", 1))
    if scaling.flag("truncate", True):
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, dimensions - 1)
    if low == high:
        high += 0.001
    factors = []
    for index in range(dimensions // 2):
        slowed = min(1.0, max(0.0, (index - low) / (high - low)))
        factors.append(1 / (slowed / factor + 1 - slowed))
    return tuple(factors)


def _yarn_attention(scaling: Settings) -> float:
    if scaling.values.get("attention_factor") is not None:
        return scaling.number("attention_factor")
    factor, weight = scaling.number("factor"), scaling.number("mscale", 0)
    everywhere = scaling.number("mscale_all_dim", 0)
    if weight and everywhere:
        return yarn_magnitude(factor, weight) / yarn_magnitude(factor, everywhere)
    return yarn_magnitude(factor, 1)
