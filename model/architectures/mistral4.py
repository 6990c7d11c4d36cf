"""Mistral Small 4: DeepSeek's latent attention with queries that grow, and a shared expert beside routed ones."""

from __future__ import annotations

from dataclasses import replace

from model.architectures.architecture import Architecture, model_config
from model.architectures.deepseek_v2 import latent_attention, latent_sources
from model.architectures.ministral import query_growth
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, first_half, gated, second_half
from model.config import LayerConfig, MlpConfig, ModelConfig, NormConfig, RouterConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    settings.require("rope_interleave", True)
    settings.require("n_group", 1)  # so it is released; groups would be chosen by another rule than DeepSeek-V2's
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    attention = replace(latent_attention(settings), growth=query_growth(settings))
    dense, routed = MlpConfig(intermediate=settings.integer("intermediate_size")), mixture(settings)
    first = settings.integer("first_k_dense_replace", 0)
    layers = tuple(
        LayerConfig(norm=norm, mixer=attention, mlp=dense if index < first else routed)
        for index in range(settings.integer("num_hidden_layers"))
    )
    return model_config(settings, layers, norm=norm)


def mixture(settings: Settings) -> MlpConfig:
    """Routed experts, and a shared one beside them."""
    intermediate = settings.integer("moe_intermediate_size")
    return MlpConfig(
        intermediate=intermediate,
        router=RouterConfig(
            experts=settings.integer("n_routed_experts"),
            chosen=settings.integer("num_experts_per_tok"),
            normalize=settings.flag("norm_topk_prob", True),
            scale=settings.number("routed_scaling_factor", 1.0),
        ),
        shared=intermediate * settings.integer("n_shared_experts", 1),
    )


def layer(config: LayerConfig) -> Sources:
    """Experts lie stacked, gates above ups."""
    found = latent_sources(config.attention)
    if config.mlp.router is None:
        return found | gated()
    into = ("mlp.experts.gate_up_proj",)
    found |= {
        "mlp.router.weight": Source(("mlp.gate.weight",)),
        "mlp.gate_proj": Source(into, first_half),
        "mlp.up_proj": Source(into, second_half),
        "mlp.down_proj": Source(("mlp.experts.down_proj",)),
    }
    return found | (gated("mlp.shared_experts", ours="mlp.shared") if config.mlp.shared else {})


MISTRAL4 = Architecture(name="mistral4", configure=configure, layer=layer)
