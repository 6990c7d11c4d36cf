"""Qwen3 mixtures, Qwen3-Coder-30B-A3B among them: 8 of 128 small experts, some layers dense where the file says so."""

from __future__ import annotations

from model.architectures.architecture import Architecture, model_config
from model.architectures.qwen3 import normed_attention
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, attention, experts, gated
from model.config import LayerConfig, MlpConfig, ModelConfig, NormConfig, RouterConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    dense = MlpConfig(intermediate=settings.integer("intermediate_size"))
    mixture = MlpConfig(
        intermediate=settings.integer("moe_intermediate_size"),
        router=RouterConfig(
            experts=settings.integer("num_experts", settings.integer("num_local_experts", 128)),
            chosen=settings.integer("num_experts_per_tok", 8),
            normalize=settings.flag("norm_topk_prob", False),
        ),
    )
    step, dense_layers = settings.integer("decoder_sparse_step", 1), settings.integers("mlp_only_layers")
    layers = []
    for index, one in enumerate(normed_attention(settings, norm)):
        routed = index not in dense_layers and step > 0 and (index + 1) % step == 0
        layers.append(LayerConfig(norm=norm, mixer=one, mlp=mixture if routed else dense))
    return model_config(settings, tuple(layers), norm=norm)


def layer(config: LayerConfig) -> Sources:
    if config.mlp.router is None:
        return attention(config.attention) | gated()
    routed = experts(config.mlp.router.experts, gate="gate_proj", up="up_proj", down="down_proj")
    return attention(config.attention) | {"mlp.router.weight": Source(("mlp.gate.weight",))} | routed


QWEN3_MOE = Architecture(name="qwen3_moe", configure=configure, layer=layer)
