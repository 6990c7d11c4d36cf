"""Mamba-2, Codestral Mamba among them: a state in place of attention, and no feed-forward blocks."""

from __future__ import annotations

from math import inf

from torch import Tensor

from model.architectures.architecture import Architecture, model_config
from model.architectures.settings import Settings
from model.architectures.sources import Names, Source, Sources, linear, only
from model.config import LayerConfig, ModelConfig, NormConfig, StateSpaceConfig

CONTEXT_TOKENS = 262144
"""A state has no end; this is as far as Mistral tested Codestral Mamba (its announcement, 16 July 2024)."""


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    heads, head_dim = settings.integer("num_heads", 128), settings.integer("head_dim", 64)
    if heads * head_dim != settings.integer("hidden_size") * settings.integer("expand", 2):
        raise settings.wrong("num_heads")
    biased = settings.flag("use_bias", False)
    norm = NormConfig(epsilon=settings.number("layer_norm_epsilon", 1e-5))
    mixer = StateSpaceConfig(
        heads=heads,
        head_dim=head_dim,
        groups=settings.integer("n_groups", 8),
        state=settings.integer("state_size", 128),
        kernel=settings.integer("conv_kernel", 4),
        bias=biased,
        conv_bias=settings.flag("use_conv_bias", True),
        limits=time_limits(settings),
    )
    wide = settings.flag("residual_in_fp32", True)
    layers = (LayerConfig(norm=norm, mixer=mixer, wide_residual=wide),) * settings.integer("num_hidden_layers")
    return model_config(settings, layers, norm=norm, context_tokens=CONTEXT_TOKENS)


def time_limits(settings: Settings) -> tuple[float, float]:
    """What time steps are clamped to; JSON spells infinity in several ways, one of them as nothing."""
    stored = settings.values.get("time_step_limit")
    if stored is None:
        return 0.0, inf
    if not isinstance(stored, list) or len(stored) != 2:
        raise settings.wrong("time_step_limit")
    low, high = (inf if value is None or value == "inf" else value for value in map(_plain, stored))
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low > high:
        raise settings.wrong("time_step_limit")
    return float(low), float(high)


def _plain(value: object) -> object:
    """HF writes infinity as {"__float__": "Infinity"}."""
    if isinstance(value, dict):
        value = value.get("__float__")
    return inf if value in ("Infinity", "inf") else value


def layer(config: LayerConfig) -> Sources:
    return state_space(config, "mixer")


def state_space(config: LayerConfig, prefix: str) -> Sources:
    """A mixer's weights under the names of the `mamba_ssm` package."""
    mixer = config.mixer
    assert isinstance(mixer, StateSpaceConfig)
    found = linear("mixer.in_proj", f"{prefix}.in_proj", bias=mixer.bias)
    found |= linear("mixer.out_proj", f"{prefix}.out_proj", bias=mixer.bias)
    found["mixer.conv.weight"] = Source((f"{prefix}.conv1d.weight",), by_channel)
    if mixer.conv_bias:
        found["mixer.conv.bias"] = Source((f"{prefix}.conv1d.bias",))
    for ours, theirs in (("step_bias", "dt_bias"), ("rate_log", "A_log"), ("skip", "D")):
        found[f"mixer.{ours}"] = Source((f"{prefix}.{theirs}",))
    return found | linear("mixer.norm", f"{prefix}.norm", bias=False)


def by_channel(tensors: list[Tensor]) -> Tensor:
    """A convolution's weights [C, 1, K] to [C, K]."""
    return only(tensors).squeeze(1)


NAMES = Names(
    layer="backbone.layers.{}.",
    embedding="backbone.embeddings",
    norm="backbone.norm_f",
    attention_norm="norm",
)
MAMBA2 = Architecture(name="mamba2", configure=configure, layer=layer, names=NAMES)
