"""Mellum 2: Qwen3's mixture with windows in some layers, which turn by another base than the others."""

from __future__ import annotations

from dataclasses import replace

from model.architectures.architecture import Architecture, head_counts, model_config, windows
from model.architectures.qwen3_moe import layer
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.architectures.sources import Names
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig, RopeConfig, RouterConfig

_BASES = {"full_attention": 500000.0, "sliding_attention": 10000.0}
_NAMES = Names()


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "silu")
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-6))
    dense = MlpConfig(intermediate=settings.integer("intermediate_size"))
    mixture = MlpConfig(
        intermediate=settings.integer("moe_intermediate_size"),
        router=RouterConfig(
            experts=settings.integer("num_local_experts", settings.integer("num_experts", 64)),
            chosen=settings.integer("num_experts_per_tok", 8),
            normalize=settings.flag("norm_topk_prob", True),
        ),
    )
    attentions = _attentions(settings, norm)
    kinds = settings.texts("mlp_layer_types") or ("sparse",) * len(attentions)
    if len(kinds) != len(attentions) or set(kinds) - {"sparse", "dense"}:
        raise settings.wrong("mlp_layer_types")
    layers = tuple(
        LayerConfig(norm=norm, mixer=one, mlp=mixture if kind == "sparse" else dense)
        for one, kind in zip(attentions, kinds, strict=True)
    )
    return model_config(settings, layers, norm=norm)


def _attentions(settings: Settings, norm: NormConfig) -> list[AttentionConfig]:
    heads, kv_heads, head_dim = head_counts(settings)
    biased = settings.flag("attention_bias", False)
    full = AttentionConfig(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=_rope(settings, "full_attention", head_dim),
        qkv_bias=biased,
        out_bias=biased,
        head_norm=norm,
    )
    kinds = settings.texts("layer_types") or ()
    turned = replace(full, rope=_rope(settings, "sliding_attention", head_dim))
    narrow = windows(Settings({"sliding_window": 1024, **settings.values}, settings.source), turned)
    return [
        one if index < len(kinds) and kinds[index] == "sliding_attention" else full for index, one in enumerate(narrow)
    ]


def _rope(settings: Settings, kind: str, head_dim: int) -> RopeConfig:
    """Each kind of layer has rotary parameters of its own."""
    each = settings.section("rope_parameters")
    own = None if each is None else each.section(kind)
    values = {**settings.values, "rope_parameters": None if own is None else dict(own.values)}
    return read_rope(Settings(values, settings.source), dimensions=head_dim, base=_BASES[kind])


MELLUM = Architecture(
    name="mellum", configure=configure, layer=layer, names=replace(_NAMES, ignored=(*_NAMES.ignored, "mtp.*"))
)
