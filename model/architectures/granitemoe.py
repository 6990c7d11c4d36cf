"""Granite 3 mixtures: experts stored fused, a softmax over the chosen ones."""

from __future__ import annotations

from model.architectures.architecture import Architecture
from model.architectures.granite import scaled
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, attention, first_half, second_half
from model.config import LayerConfig, MlpConfig, ModelConfig, RouterConfig


def configure(settings: Settings) -> ModelConfig:
    router = RouterConfig(
        experts=settings.integer("num_local_experts", 8),
        chosen=settings.integer("num_experts_per_tok", 2),
        normalize=True,
    )
    return scaled(settings, MlpConfig(intermediate=settings.integer("intermediate_size"), router=router))


def layer(config: LayerConfig) -> Sources:
    return attention(config.attention) | mixture()


def mixture() -> Sources:
    into = ("block_sparse_moe.input_linear.weight",)
    return {
        "mlp.router.weight": Source(("block_sparse_moe.router.layer.weight",)),
        "mlp.gate_proj": Source(into, first_half),
        "mlp.up_proj": Source(into, second_half),
        "mlp.down_proj": Source(("block_sparse_moe.output_linear.weight",)),
    }


GRANITEMOE = Architecture(name="granitemoe", configure=configure, layer=layer)
