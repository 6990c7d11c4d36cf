"""Mistral 7B, Codestral 22B, Mathstral, Nemo (head_dim of its own), Small, Large: dense, a sliding window at times."""

from __future__ import annotations

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.llama import layer
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig

_WINDOW = 4096
"""What a configuration without the key means: v0.1, the first."""


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    heads, kv_heads, head_dim = head_counts(settings)
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    window = settings.optional_integer("sliding_window") if "sliding_window" in settings.values else _WINDOW
    shape = LayerConfig(
        norm=norm,
        mixer=AttentionConfig(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rope=read_rope(settings, dimensions=head_dim),
            window=window,
        ),
        mlp=MlpConfig(intermediate=settings.integer("intermediate_size")),
    )
    return model_config(settings, (shape,) * settings.integer("num_hidden_layers"), norm=norm)


MISTRAL = Architecture(name="mistral", configure=configure, layer=layer)
