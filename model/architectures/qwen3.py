"""Qwen3, dense: llama's block with a norm on each head's query and key, and no biases."""

from __future__ import annotations

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.llama import layer
from model.architectures.qwen2 import sliding
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig


def normed_attention(settings: Settings, norm: NormConfig) -> list[AttentionConfig]:
    """The attention of each layer, as the dense models and the mixtures have it."""
    heads, kv_heads, _ = head_counts(settings)
    head_dim = settings.integer("head_dim", 128)
    biased = settings.flag("attention_bias", False)
    attention = AttentionConfig(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=read_rope(settings, dimensions=head_dim),
        qkv_bias=biased,
        out_bias=biased,
        head_norm=norm,
    )
    return sliding(settings, attention)


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    mlp = MlpConfig(intermediate=settings.integer("intermediate_size"))
    each = normed_attention(settings, norm)
    return model_config(settings, tuple(LayerConfig(norm=norm, mixer=one, mlp=mlp) for one in each), norm=norm)


QWEN3 = Architecture(name="qwen3", configure=configure, layer=layer)
