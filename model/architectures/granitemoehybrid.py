"""Granite 4: Mamba-2 in most layers, attention in some, often without positions; a dense block beside the experts."""

from __future__ import annotations

from dataclasses import replace

from model.architectures.architecture import Architecture
from model.architectures.granite import scaled
from model.architectures.granitemoe import mixture
from model.architectures.granitemoeshared import dense
from model.architectures.mamba2 import state_space, time_limits
from model.architectures.settings import Settings
from model.architectures.sources import Sources, attention
from model.config import LayerConfig, MlpConfig, ModelConfig, RopeConfig, RouterConfig, StateSpaceConfig

_RECURRENT, _ATTENTION = ("mamba", "linear_attention"), ("attention", "full_attention")
"""What IBM's files and what newer transformers call the kinds of layers."""


def configure(settings: Settings) -> ModelConfig:
    settings.require("position_embedding_type", "rope", "nope")
    model = scaled(settings, _mlp(settings))
    kinds = settings.texts("layer_types") or settings.texts("layers_block_type") or ("mamba",) * len(model.layers)
    if len(kinds) != len(model.layers) or set(kinds) - {*_RECURRENT, *_ATTENTION}:
        raise settings.wrong("layer_types")
    attended = model.layers[0]
    if settings.text("position_embedding_type", "nope") == "nope":
        still = RopeConfig(base=1.0, dimensions=0)
        attended = replace(attended, mixer=replace(attended.attention, rope=still))
    recurrent = replace(attended, mixer=_mixer(settings))
    return replace(model, layers=tuple(recurrent if kind in _RECURRENT else attended for kind in kinds))


def _mlp(settings: Settings) -> MlpConfig:
    """Without experts there is the dense block alone."""
    experts, shared = settings.integer("num_local_experts", 8), settings.integer("shared_intermediate_size", 1024)
    if experts == 0:
        return MlpConfig(intermediate=shared)
    router = RouterConfig(experts=experts, chosen=settings.integer("num_experts_per_tok", 2), normalize=True)
    return MlpConfig(intermediate=settings.integer("intermediate_size"), router=router, shared=shared)


def _mixer(settings: Settings) -> StateSpaceConfig:
    heads, inner = settings.integer("mamba_n_heads", 128), settings.integer("mamba_expand", 2)
    inner *= settings.integer("hidden_size")
    if not heads or inner % heads:
        raise settings.wrong("mamba_n_heads")
    return StateSpaceConfig(
        heads=heads,
        head_dim=inner // heads,
        groups=settings.integer("mamba_n_groups", 1),
        state=settings.integer("mamba_d_state", 256),
        kernel=settings.integer("mamba_d_conv", 4),
        bias=settings.flag("mamba_proj_bias", False),
        conv_bias=settings.flag("mamba_conv_bias", True),
        limits=time_limits(settings),
    )


def layer(config: LayerConfig) -> Sources:
    found = attention(config.attention) if config.is_attention else state_space(config, "mamba")
    if config.mlp.router is None:
        return found | dense("mlp")
    return found | mixture() | (dense("mlp.shared") if config.mlp.shared else {})


GRANITEMOEHYBRID = Architecture(name="granitemoehybrid", configure=configure, layer=layer)
