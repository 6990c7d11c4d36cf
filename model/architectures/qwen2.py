"""Qwen2 and Qwen2.5-Coder: llama's block with biases on queries, keys and values."""

from __future__ import annotations

from dataclasses import replace

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.llama import layer
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    heads, kv_heads, head_dim = head_counts(settings)
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    attention = AttentionConfig(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=read_rope(settings, dimensions=head_dim),
        qkv_bias=True,
    )
    mlp = MlpConfig(intermediate=settings.integer("intermediate_size"))
    each = sliding(settings, attention)
    return model_config(settings, tuple(LayerConfig(norm=norm, mixer=one, mlp=mlp) for one in each), norm=norm)


def sliding(settings: Settings, attention: AttentionConfig) -> list[AttentionConfig]:
    """The attention of each layer: with `use_sliding_window`, those from `max_window_layers` on slide."""
    full = settings.integer("max_window_layers", 28) if settings.flag("use_sliding_window", False) else None
    window = settings.optional_integer("sliding_window")
    count = settings.integer("num_hidden_layers")
    narrow = replace(attention, window=window)
    return [attention if full is None or index < full else narrow for index in range(count)]


QWEN2 = Architecture(name="qwen2", configure=configure, layer=layer)
