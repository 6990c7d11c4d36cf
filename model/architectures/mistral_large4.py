"""Mistral Large 4: latent attention over the tokens that an indexer chooses; learned growth of queries, and learned
rotary frequencies; capped logits. Some layers do not turn, some attend to what an earlier one remembers. It also sees
pictures; what does is passed over, as are the layers that guess ahead.

Source: HF's `modeling_mistral_large4.py`; stored names in its `conversion_mapping.py`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from model.architectures import mistral_names
from model.architectures.architecture import Architecture, model_config
from model.architectures.deepseek_v2 import half_split_part, latent_attention
from model.architectures.mistral3 import text_part
from model.architectures.mistral4 import mixture
from model.architectures.mistral_names import NAMES
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, linear
from model.config import (
    AttentionConfig,
    IndexConfig,
    LayerConfig,
    LearnedGrowth,
    MlpConfig,
    ModelConfig,
    NormConfig,
    RopeConfig,
)
from model.errors import CheckpointError

_SEEING = ("vision_encoder.*", "vision_language_adapter.*", "patch_merger.*", "pre_mm_projector_norm.*")
_GUESSING = "mtp_dspark.*"


def configure(settings: Settings) -> ModelConfig:
    _, text = text_part(settings, "mistral_large4_text")
    text.require("hidden_act", "silu")
    text.require("n_group", 1)
    text.require("norm_topk_prob", True)
    norm = NormConfig(epsilon=text.number("rms_norm_eps", 1e-5))
    dense, routed = MlpConfig(intermediate=text.integer("intermediate_size")), mixture(text)
    first = text.integer("first_k_dense_replace", 1)
    attentions = _attentions(text)
    sparse = _are(text, "mlp_layer_types", "sparse", "dense", [number >= first for number in range(len(attentions))])
    layers = tuple(
        LayerConfig(norm=norm, mixer=attention, mlp=routed if is_sparse else dense)
        for attention, is_sparse in zip(attentions, sparse, strict=True)
    )
    cap = text.number("final_logit_softcapping", 30.0)
    if cap <= 0:
        raise text.wrong("final_logit_softcapping")
    return replace(model_config(text, layers, norm=norm), logit_cap=cap)


def _attentions(settings: Settings) -> list[AttentionConfig]:
    """Of each layer."""
    if settings.section("rope_parameters") is None:
        raise settings.wrong("rope_parameters")
    turning = _indexed(settings, latent_attention(settings))
    turns = _turns(settings)
    sources, choosing = _sources(settings, turns), _choosing(settings)
    found = []
    for number, source in enumerate(sources):
        attention = turning if turns[number] else _without_positions(turning)
        assert attention.latent is not None
        assert attention.index is not None
        latent = replace(attention.latent, own=source == number, shared=source if sources.count(source) > 1 else None)
        index = replace(attention.index, own=choosing[number])
        found.append(replace(attention, latent=latent, index=index))
    return found


def _indexed(settings: Settings, attention: AttentionConfig) -> AttentionConfig:
    index = IndexConfig(
        chosen=settings.integer("index_topk"),
        heads=settings.integer("index_n_heads"),
        dim=settings.integer("index_head_dim"),
        norm=NormConfig(epsilon=1e-6, kind="layer"),
    )
    for key in ("index_topk", "index_n_heads"):
        if not settings.integer(key):
            raise settings.wrong(key)
    if index.dim < attention.rope.dimensions:
        raise settings.wrong("index_head_dim")
    return replace(attention, rope=replace(attention.rope, learned=True), growth=LearnedGrowth(), index=index)


def _without_positions(attention: AttentionConfig) -> AttentionConfig:
    latent = attention.latent
    assert latent is not None
    plain = replace(latent, plain_dim=latent.plain_dim + latent.rope_dim, rope_dim=0)
    return replace(attention, rope=RopeConfig(base=attention.rope.base, dimensions=0), latent=plain)


def _turns(settings: Settings) -> list[bool]:
    """Which layers turn: despite its name, those that `no_rope_layers` marks with 1."""
    count, every = settings.integer("num_hidden_layers"), settings.integer("no_rope_layer_interval", 4)
    if not every:
        raise settings.wrong("no_rope_layer_interval")
    marks = settings.integers("no_rope_layers") or tuple((number + 1) % every for number in range(count))
    if len(marks) < count:
        raise settings.wrong("no_rope_layers")
    return [mark != 0 for mark in marks[:count]]


def _choosing(settings: Settings) -> list[bool]:
    """Which layers have an indexer of their own."""
    every, first = settings.integer("index_topk_freq", 1), settings.integer("index_skip_topk_offset", 2)
    count = settings.integer("num_hidden_layers")
    full = [max(number - first + 1, 0) % max(every, 1) == 0 for number in range(count)]
    if settings.texts("indexer_types") is None:
        settings.require("index_topk_pattern", "".join("F" if one else "S" for one in full))
    full = _are(settings, "indexer_types", "full", "shared", full)
    if not all(full[:1]):
        raise settings.wrong("indexer_types")
    return full


def _sources(settings: Settings, turns: list[bool]) -> list[int]:
    """Of each layer the one whose latents it attends to: itself, or an earlier one.

    HF has a layer read those of the last sharing one before it that turns alike; where the file says others, which of
    the two is meant is not known.
    """
    sources = list(settings.integers("kv_source_layers") or range(len(turns)))
    if len(sources) != len(turns):
        raise settings.wrong("kv_source_layers")
    last: dict[bool, int] = {}
    for number, source in enumerate(sources):
        if source == number and source in sources[number + 1 :]:
            last[turns[number]] = number
        if source not in (number, last.get(turns[number])):
            raise CheckpointError(
                f"{settings.source} has layer {number} attend to what {source} remembers, which is not supported.",
                hint="Supported: itself, or the last layer before it that is shared and turns alike. "
                "Use another checkpoint.",
            )
    return sources


def _are(settings: Settings, key: str, one: str, other: str, default: list[bool]) -> list[bool]:
    """Which layers are of one kind, of two."""
    kinds = settings.texts(key) or tuple(one if is_one else other for is_one in default)
    if len(kinds) != len(default) or set(kinds) - {one, other}:
        raise settings.wrong(key)
    return [kind == one for kind in kinds]


def layer(config: LayerConfig) -> Sources:
    """As Mistral lays its models out; so does HF here. What turns lies in interleaved order, in index keys at first."""
    found = mistral_names.layer(config) | _growth("attention")
    index, place = config.attention.index, "attention.indexer"
    assert index is not None
    if not index.own:
        return found
    turn = partial(half_split_part, period=index.dim, first=0, count=config.attention.rope.dimensions)
    stored = {"q_proj.weight": "wq_b.weight", "k_proj.weight": "wk.weight"}
    stored |= {name: name for name in ("k_norm.weight", "k_norm.bias")}
    found |= {f"{place}.{ours}": Source((f"{place}.{theirs}",), turn) for ours, theirs in stored.items()}
    found |= linear(f"{place}.q_norm", f"{place}.q_input_norm", bias=True)
    return found | linear(f"{place}.head_weights", f"{place}.weights_proj", bias=False) | _growth(place)


def _growth(place: str) -> Sources:
    return {
        f"{place}.growth.slope": Source((f"{place}.ssmax_scaling.s",)),
        f"{place}.growth.base": Source((f"{place}.ssmax_scaling.b",)),
    }


MISTRAL_LARGE4 = Architecture(
    name="mistral_large4",
    configure=configure,
    layer=layer,
    names=replace(NAMES, ignored=(*NAMES.ignored, *_SEEING, _GUESSING)),
)
