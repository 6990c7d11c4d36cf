"""What `params.json` says of long texts: YaRN, and queries that grow.

Source: vLLM's `transformers_utils/configs/mistral.py`; HF's `convert_ministral3_weights_to_hf.py`.
"""

from __future__ import annotations

from typing import Any

from model.architectures.rotary import yarn_rope
from model.architectures.settings import Settings
from model.config import QueryGrowth, RopeConfig


def read_rope(settings: Settings, *, base: float, dimensions: int) -> RopeConfig:
    """What turns is made larger, as YaRN has it, unless `apply_scale` is false. Raises `CheckpointError`."""
    if base <= 1:
        raise settings.wrong("rope_theta")
    yarn = settings.section("yarn")
    if yarn is None:
        return RopeConfig(base=base, dimensions=dimensions)
    magnitude = None if scales_magnitude(yarn) else 1.0
    words = Settings(yarn_words(yarn) | {"attention_factor": magnitude}, yarn.source)
    return yarn_rope(words, base=base, dimensions=dimensions)


def yarn_words(yarn: Settings) -> dict[str, Any]:
    """The section in the words of HF's `rope_parameters`, but for its magnitude. Raises `CheckpointError`."""
    yarn.allow("factor", "original_max_position_embeddings", "beta", "alpha", "apply_scale")
    return {
        "factor": yarn.number("factor"),
        "original_max_position_embeddings": yarn.integer("original_max_position_embeddings"),
        "beta_fast": yarn.number("beta", 32),
        "beta_slow": yarn.number("alpha", 1),
    }


def scales_magnitude(yarn: Settings) -> bool:
    """Does YaRN sharpen attention too? Absent, it does."""
    return yarn.flag("apply_scale", True)


def read_growth(settings: Settings) -> QueryGrowth | None:
    """Raises `CheckpointError`."""
    scaling = settings.section("llama_4_scaling")
    if scaling is None:
        return None
    scaling.allow("original_max_position_embeddings", "beta")
    step = scaling.integer("original_max_position_embeddings")
    if step == 0:
        raise scaling.wrong("original_max_position_embeddings")
    return QueryGrowth(slope=scaling.number("beta"), step_tokens=step)
