"""Granite 3, dense: llama's block with fixed multipliers on embeddings, scores, residuals and logits."""

from __future__ import annotations

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.llama import layer
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig


def configure(settings: Settings) -> ModelConfig:
    return scaled(settings, MlpConfig(intermediate=settings.integer("intermediate_size")))


def scaled(settings: Settings, mlp: MlpConfig) -> ModelConfig:
    """The family's model around either kind of MLP."""
    settings.require("hidden_act", "silu")
    settings.require("mlp_bias", False)
    heads, kv_heads, head_dim = head_counts(settings)
    biased = settings.flag("attention_bias", False)
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    shape = LayerConfig(
        norm=norm,
        mixer=AttentionConfig(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rope=read_rope(settings, dimensions=head_dim),
            qkv_bias=biased,
            out_bias=biased,
            scale=settings.number("attention_multiplier", 1.0),
        ),
        mlp=mlp,
        residual_scale=settings.number("residual_multiplier", 1.0),
    )
    return model_config(
        settings,
        (shape,) * settings.integer("num_hidden_layers"),
        norm=norm,
        embedding_scale=settings.number("embedding_multiplier", 1.0),
        logit_scale=1 / settings.number("logits_scaling", 1.0),
    )


GRANITE = Architecture(name="granite", configure=configure, layer=layer)
