"""DeepSeek-V2 and DeepSeek-Coder-V2, Lite included: latent attention, shared and routed experts, groups of experts."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from model.architectures.architecture import Architecture, model_config
from model.architectures.rotary import read_rope, yarn_magnitude
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, experts, gated, linear, only
from model.config import (
    AttentionConfig,
    LatentConfig,
    LayerConfig,
    MlpConfig,
    ModelConfig,
    NormConfig,
    RouterConfig,
)


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    settings.require("mlp_bias", False)
    settings.require("scoring_func", "softmax")
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    attention = latent_attention(settings)
    dense = MlpConfig(intermediate=settings.integer("intermediate_size"))
    mixture = _mixture(settings)
    first, every = settings.integer("first_k_dense_replace", 0), settings.integer("moe_layer_freq", 1)
    layers = tuple(
        LayerConfig(norm=norm, mixer=attention, mlp=dense if index < first or index % every else mixture)
        for index in range(settings.integer("num_hidden_layers"))
    )
    return model_config(settings, layers, norm=norm)


def latent_attention(settings: Settings) -> AttentionConfig:
    """Sharpened where YaRN says so."""
    heads = settings.integer("num_attention_heads")
    latent = LatentConfig(
        rank=settings.integer("kv_lora_rank"),
        plain_dim=settings.integer("qk_nope_head_dim"),
        rope_dim=settings.integer("qk_rope_head_dim"),
        value_dim=settings.integer("v_head_dim"),
        query_rank=settings.optional_integer("q_lora_rank"),
    )
    head_dim = latent.plain_dim + latent.rope_dim
    return AttentionConfig(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        rope=read_rope(settings, dimensions=latent.rope_dim, partial=False),
        qkv_bias=settings.flag("attention_bias", False),
        out_bias=settings.flag("attention_bias", False),
        scale=head_dim**-0.5 * _sharpening(settings) ** 2,
        latent=latent,
    )


def _sharpening(settings: Settings) -> float:
    scaling = settings.section("rope_parameters") or settings.section("rope_scaling")
    weight = 0.0 if scaling is None else scaling.number("mscale_all_dim", 0)
    return yarn_magnitude(scaling.number("factor"), weight) if scaling is not None and weight else 1.0


def _mixture(settings: Settings) -> MlpConfig:
    intermediate = settings.integer("moe_intermediate_size")
    # The published code ignores norm_topk_prob unless it is off, and so does every released configuration.
    settings.require("norm_topk_prob", False)
    settings.require("topk_method", "greedy", "group_limited_greedy")
    grouped = settings.text("topk_method", "greedy") == "group_limited_greedy"
    return MlpConfig(
        intermediate=intermediate,
        router=RouterConfig(
            experts=settings.integer("n_routed_experts"),
            chosen=settings.integer("num_experts_per_tok"),
            normalize=False,
            scale=settings.number("routed_scaling_factor", 1.0),
            groups=settings.integer("n_group") if grouped else 1,
            groups_chosen=settings.integer("topk_group") if grouped else 1,
        ),
        shared=intermediate * settings.integer("n_shared_experts", 0),
    )


def layer(config: LayerConfig) -> Sources:
    found = latent_sources(config.attention)
    if config.mlp.router is None:
        return found | gated()
    found |= {"mlp.router.weight": Source(("mlp.gate.weight",))}
    found |= experts(config.mlp.router.experts, gate="gate_proj", up="up_proj", down="down_proj")
    return found | (gated("mlp.shared_experts", ours="mlp.shared") if config.mlp.shared else {})


def latent_sources(config: AttentionConfig) -> Sources:
    """Rows that turn are stored in interleaved order. What another layer makes is not this one's."""
    latent = config.latent
    assert latent is not None
    turn_queries = partial(half_split_tail, period=config.head_dim, tail=latent.rope_dim)
    turn_keys = partial(half_split_tail, period=latent.rank + latent.rope_dim, tail=latent.rope_dim)
    found: Sources = {}
    if latent.query_rank is None:
        found["attention.q_proj.weight"] = Source(("self_attn.q_proj.weight",), turn_queries)
    else:
        found |= linear("attention.q_down_proj", "self_attn.q_a_proj", bias=config.qkv_bias)
        found |= linear("attention.q_norm", "self_attn.q_a_layernorm", bias=False)
        found["attention.q_up_proj.weight"] = Source(("self_attn.q_b_proj.weight",), turn_queries)
    if latent.own:
        for part in ("weight", *(("bias",) if config.qkv_bias else ())):
            found[f"attention.kv_down_proj.{part}"] = Source((f"self_attn.kv_a_proj_with_mqa.{part}",), turn_keys)
        found |= linear("attention.kv_norm", "self_attn.kv_a_layernorm", bias=False)
    found |= linear("attention.kv_up_proj", "self_attn.kv_b_proj", bias=False)
    return found | linear("attention.o_proj", "self_attn.o_proj", bias=config.out_bias)


def half_split_tail(tensors: list[Tensor], *, period: int, tail: int) -> Tensor:
    """Rows in periods, the last `tail` of each in interleaved order (0, h, 1, h + 1, …), to half-split order."""
    return half_split_part(tensors, period=period, first=period - tail, count=tail)


def half_split_part(tensors: list[Tensor], *, period: int, first: int, count: int) -> Tensor:
    """Likewise, of each period the `count` rows from `first` on."""
    stored = only(tensors)
    rows = stored.view(-1, period, *stored.shape[1:]).clone()
    turning = rows[:, first : first + count].reshape(len(rows), count // 2, 2, *stored.shape[1:])
    rows[:, first : first + count] = turning.transpose(1, 2).flatten(1, 2)
    return rows.view(stored.shape)


DEEPSEEK_V2 = Architecture(name="deepseek_v2", configure=configure, layer=layer)
