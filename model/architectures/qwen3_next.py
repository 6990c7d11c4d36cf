"""Qwen3-Next and Qwen3-Coder-Next: the gated delta rule in three layers of four, gated attention in the fourth.

Norms but the recurrent one are stored as what is added to one. Queries, keys, values and gates of the delta rule are
stored by key head.

Legend: D hidden, J key heads, R heads a key head, K key and V value dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.mamba2 import by_channel
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.architectures.sources import Names, Source, Sources, attention, experts, gated, only, whole
from model.config import AttentionConfig, DeltaConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig, RouterConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    count, every = settings.integer("num_hidden_layers"), settings.integer("full_attention_interval", 4)
    kinds = settings.texts("layer_types")
    if kinds is None:
        kinds = tuple("full_attention" if (index + 1) % every == 0 else "linear_attention" for index in range(count))
    if len(kinds) != count or set(kinds) - {"full_attention", "linear_attention"}:
        raise settings.wrong("layer_types")
    mixers: dict[str, AttentionConfig | DeltaConfig] = {
        "full_attention": _attention(settings, norm),
        "linear_attention": _delta(settings),
    }
    dense, mixture = MlpConfig(intermediate=settings.integer("intermediate_size")), _mixture(settings)
    step, dense_layers = settings.integer("decoder_sparse_step", 1), settings.integers("mlp_only_layers")
    layers = []
    for index, kind in enumerate(kinds):
        routed = mixture.router is not None and index not in dense_layers and step > 0 and (index + 1) % step == 0
        layers.append(LayerConfig(norm=norm, mixer=mixers[kind], mlp=mixture if routed else dense))
    return model_config(settings, tuple(layers), norm=norm)


def _attention(settings: Settings, norm: NormConfig) -> AttentionConfig:
    heads, kv_heads, head_dim = head_counts(settings)
    biased = settings.flag("attention_bias", False)
    parts = Settings({"partial_rotary_factor": 0.25, **settings.values}, settings.source)
    return AttentionConfig(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=read_rope(parts, dimensions=head_dim),
        qkv_bias=biased,
        out_bias=biased,
        head_norm=norm,
        gated=True,
    )


def _delta(settings: Settings) -> DeltaConfig:
    heads, key_heads = settings.integer("linear_num_value_heads", 32), settings.integer("linear_num_key_heads", 16)
    if not key_heads or heads % key_heads:
        raise settings.wrong("linear_num_key_heads")
    return DeltaConfig(
        heads=heads,
        key_heads=key_heads,
        key_dim=settings.integer("linear_key_head_dim", 128),
        value_dim=settings.integer("linear_value_head_dim", 128),
        kernel=settings.integer("linear_conv_kernel_dim", 4),
    )


def _mixture(settings: Settings) -> MlpConfig:
    count = settings.integer("num_experts", settings.integer("num_local_experts", 512))
    router = RouterConfig(
        experts=count,
        chosen=settings.integer("num_experts_per_tok", 10),
        normalize=settings.flag("norm_topk_prob", True),
    )
    return MlpConfig(
        intermediate=settings.integer("moe_intermediate_size", 512),
        router=router if count else None,
        shared=settings.integer("shared_expert_intermediate_size", 512),
        shared_gate=True,
    )


def layer(config: LayerConfig) -> Sources:
    if isinstance(config.mixer, DeltaConfig):
        found = _delta_sources(config.mixer)
    else:
        found = attention(config.attention) | gated_queries(config.attention)
    if config.mlp.router is None:
        return found | gated()
    found["mlp.router.weight"] = Source(("mlp.gate.weight",))
    found |= experts(config.mlp.router.experts, gate="gate_proj", up="up_proj", down="down_proj")
    found |= gated("mlp.shared_expert", ours="mlp.shared")
    return found | {"mlp.shared_gate.weight": Source(("mlp.shared_expert_gate.weight",))}


def gated_queries(config: AttentionConfig, stored: str = "self_attn.q_proj") -> Sources:
    """Of each head first the rows of the query, then those of the gate."""
    found: Sources = {}
    size = config.head_dim
    for part in ("weight", *(("bias",) if config.qkv_bias else ())):
        for index, ours in enumerate(("q_proj", "gate_proj")):
            take = partial(rows_of_heads, period=2 * size, start=index * size, size=size)
            found[f"attention.{ours}.{part}"] = Source((f"{stored}.{part}",), take)
    return found


def delta_projections(config: DeltaConfig, *, joint: str, small: str) -> Sources:
    """Of two stored matrices, both by key head: `joint` has queries, keys, values, gates; `small` shares and steps."""
    each, values = config.heads // config.key_heads, config.inner // config.key_heads
    period = 2 * config.key_dim + 2 * values

    def rows(start: int, size: int) -> Callable[[list[Tensor]], Tensor]:
        return partial(rows_of_heads, period=period, start=start, size=size)

    def joined(tensors: list[Tensor]) -> Tensor:
        cuts = ((0, config.key_dim), (config.key_dim, config.key_dim), (2 * config.key_dim, values))
        return torch.cat([rows(start, size)(tensors) for start, size in cuts])

    return {
        "mixer.qkv_proj.weight": Source((joint,), joined),
        "mixer.z_proj.weight": Source((joint,), rows(2 * config.key_dim + values, values)),
        "mixer.beta_proj.weight": Source((small,), partial(rows_of_heads, period=2 * each, start=0, size=each)),
        "mixer.step_proj.weight": Source((small,), partial(rows_of_heads, period=2 * each, start=each, size=each)),
    }


def _delta_sources(config: DeltaConfig) -> Sources:
    names = {"joint": "linear_attn.in_proj_qkvz.weight", "small": "linear_attn.in_proj_ba.weight"}
    return delta_projections(config, **names) | {
        "mixer.conv.weight": Source(("linear_attn.conv1d.weight",), by_channel),
        "mixer.step_bias": Source(("linear_attn.dt_bias",)),
        "mixer.rate_log": Source(("linear_attn.A_log",)),
        "mixer.norm.weight": Source(("linear_attn.norm.weight",)),
        "mixer.out_proj.weight": Source(("linear_attn.out_proj.weight",)),
    }


def rows_of_heads(tensors: list[Tensor], *, period: int, start: int, size: int) -> Tensor:
    """Of rows in periods, `size` from `start` on of each."""
    stored = only(tensors)
    return stored.view(-1, period, *stored.shape[1:])[:, start : start + size].flatten(0, 1)


def _one_more(tensors: list[Tensor]) -> Tensor:
    """In float32, since a sum near one would lose what was stored."""
    return only(tensors).float() + 1


class _Qwen3Next(Architecture):
    def sources(self, config: ModelConfig) -> Sources:
        """As any, and one added to every norm but the recurrent ones."""
        found = whole(config, self.names, self.layer)
        for name, source in found.items():
            if name.endswith("norm.weight") and not name.endswith("mixer.norm.weight"):
                found[name] = replace(source, convert=_one_more)
        return found


QWEN3_NEXT = _Qwen3Next(
    name="qwen3_next", configure=configure, layer=layer, names=Names(ignored=(*Names().ignored, "mtp.*"))
)
