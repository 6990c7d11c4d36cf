"""Rotary positions of GGUF files: the metadata in the words of HF's `config.json`, and what those words cannot say.

Source: llama.cpp's `llama-model.cpp` for the keys, `llama-context.cpp` for the attention factor, `conversion/base.py`
for what converters write. Where its converter keeps what HF computes and its runtime does not read it (`beta_fast`,
`beta_slow`, HF's `attention_factor`), HF holds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from model.architectures.settings import Settings
from model.checkpoint.gguf import GgufFile
from model.config import LayerConfig, ModelConfig, RopeConfig
from model.errors import CheckpointError

_TRAINED = ("rope.scaling.original_context_length", "context_length")
_LENGTHS = ("attention.temperature_length", *_TRAINED)
_GROWING = {"mistral3": _TRAINED, "mistral4": _LENGTHS, "deepseek2": _LENGTHS}
"""Architectures of which queries grow with their position where the file says so, and what says after how many tokens
each time."""
FACTORS = "rope_freqs.weight"
"""The tensor of divisors of each frequency, which come on top of any scaling."""


def rope_parameters(file: GgufFile, name: str) -> dict[str, Any] | None:
    """HF's `rope_parameters` for the architecture `name`; None where positions are not scaled, and queries do not grow.

    Raises `CheckpointError` for a YaRN that extrapolates in part.
    """
    scaled = _scaling(file, name)
    growth = file.metadata.get(f"{name}.attention.temperature_scale") if name in _GROWING else None
    if not growth:
        return scaled
    steps = (file.metadata.get(f"{name}.{key}") for key in _GROWING[name])
    return (scaled or {"rope_theta": file.metadata.get(f"{name}.rope.freq_base")}) | {
        "llama_4_scaling_beta": growth,
        "original_max_position_embeddings": next(filter(None, steps), None),
    }


def _scaling(file: GgufFile, name: str) -> dict[str, Any] | None:
    """A factor without a type means linear scaling, and older files have it under another name."""

    def value(key: str) -> Any:
        return file.metadata.get(f"{name}.rope.{key}")

    factor = value("scaling.factor") or value("scale_linear")
    kind = value("scaling.type") or "linear"
    if kind == "none" or (kind == "linear" and not factor):
        return None
    Settings({"yarn_ext_factor": value("scaling.yarn_ext_factor")}, file.path.name).require(
        "yarn_ext_factor", 1.0, -1.0
    )
    multiplier = value("scaling.yarn_log_multiplier")
    mscale, everywhere = _weights(name, multiplier) if multiplier else (None, None)
    return {
        "rope_type": kind,
        "rope_theta": value("freq_base"),
        "factor": factor,
        "beta_fast": value("scaling.yarn_beta_fast"),
        "beta_slow": value("scaling.yarn_beta_slow"),
        "attention_factor": value("scaling.yarn_attn_factor"),
        "original_max_position_embeddings": value("scaling.original_context_length"),
        "mscale": mscale,
        "mscale_all_dim": everywhere,
        "truncate": name != "gpt-oss",
    }


def _weights(name: str, multiplier: float) -> tuple[float | None, float | None]:
    """HF's `mscale` and `mscale_all_dim`. Other architectures do not read the multiplier."""
    if name in ("deepseek2", "mistral4"):  # a tenth of mscale_all_dim, which mscale equals in released models
        return multiplier * 10, multiplier * 10
    return (1.0, multiplier) if name == "mistral3" else (None, None)


def adjusted(config: ModelConfig, file: GgufFile) -> ModelConfig:
    """With the file's divisors of frequencies, and with what it multiplies all that turns by (`attn_factor`).

    Raises `CheckpointError` for a multiplier where it is not clear what it would mean: latent attention, and layers
    that turn in different ways.
    """
    own = Settings(file.metadata, file.path.name)
    scale = own.number(f"{file.metadata.get('general.architecture')}.rope.scaling.attn_factor", 1.0)
    attending = [layer.attention for layer in config.layers if layer.is_attention]
    if scale != 1 and (len({layer.rope for layer in attending}) > 1 or any(layer.latent for layer in attending)):
        raise CheckpointError(
            f"{file.path.name} scales its rotary positions by an attn_factor of {scale:g}, which is not supported for "
            f"this architecture.",
            hint="Use the same model in HF's layout.",
        )
    divisors = tuple(file.read(FACTORS).tolist()) if FACTORS in file.tensors else None

    def turned(layer: LayerConfig) -> LayerConfig:
        if not layer.is_attention:
            return layer
        return replace(layer, mixer=replace(layer.attention, rope=_turned(layer.attention.rope, divisors, scale)))

    return config if divisors is None and scale == 1 else replace(config, layers=tuple(map(turned, config.layers)))


def _turned(rope: RopeConfig, divisors: tuple[float, ...] | None, scale: float) -> RopeConfig:
    factors = rope.factors
    if divisors is not None:
        if 2 * len(divisors) != rope.dimensions:
            raise CheckpointError(
                f"Tensor '{FACTORS}' has {len(divisors)} numbers for {rope.dimensions} rotary dimensions.",
                hint="Fetch the model again.",
            )
        factors = divisors if factors is None else tuple(map(float.__mul__, divisors, factors))
    return replace(rope, factors=factors, scale=rope.scale * scale)
