"""Llama 2 and 3.1, SmolLM2, CodeLlama, DeepSeek-Coder v1: the plain block."""

from __future__ import annotations

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.architectures.sources import Sources, attention, gated
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    settings.require("mlp_bias", False)
    heads, kv_heads, head_dim = head_counts(settings)
    biased = settings.flag("attention_bias", False)
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    layer = LayerConfig(
        norm=norm,
        mixer=AttentionConfig(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rope=read_rope(settings, dimensions=head_dim),
            qkv_bias=biased,
            out_bias=biased,
        ),
        mlp=MlpConfig(intermediate=settings.integer("intermediate_size")),
    )
    return model_config(settings, (layer,) * settings.integer("num_hidden_layers"), norm=norm)


def layer(config: LayerConfig) -> Sources:
    return attention(config.attention) | gated()


LLAMA = Architecture(name="llama", configure=configure, layer=layer)
