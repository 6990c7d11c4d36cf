"""Mixtral 8x7B and 8x22B: two of eight SwiGLU experts for each token, weighted by the softmax over the two."""

from __future__ import annotations

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, attention, experts
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig, RouterConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    heads, kv_heads, head_dim = head_counts(settings)
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-5))
    shape = LayerConfig(
        norm=norm,
        mixer=AttentionConfig(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rope=read_rope(settings, dimensions=head_dim, base=1e6),
            window=settings.optional_integer("sliding_window"),
        ),
        mlp=MlpConfig(
            intermediate=settings.integer("intermediate_size"),
            router=RouterConfig(
                experts=settings.integer("num_local_experts", 8),
                chosen=settings.integer("num_experts_per_tok", 2),
                normalize=True,
            ),
        ),
    )
    return model_config(settings, (shape,) * settings.integer("num_hidden_layers"), norm=norm)


def layer(config: LayerConfig) -> Sources:
    assert config.mlp.router is not None
    prefix = "block_sparse_moe"
    routed = experts(config.mlp.router.experts, f"{prefix}.experts", gate="w1", up="w3", down="w2")
    return attention(config.attention) | {"mlp.router.weight": Source((f"{prefix}.gate.weight",))} | routed


MIXTRAL = Architecture(name="mixtral", configure=configure, layer=layer)
