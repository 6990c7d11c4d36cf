"""A folder as Mistral publishes it: `params.json`, and `consolidated*` in safetensors or pickled.

Dense models and mixtures; of these, both ways in which experts were stored. Query and key rows are in interleaved
rotary order and are put in half-split order here. Mamba is read in `mistral_mamba`, latent attention in
`mistral_latent`, what concerns long texts in `mistral_rope`. Source: `mistral-inference`, `transformer.py` and
`moe.py`; for `quantization` vLLM's `transformers_utils/configs/mistral.py`.

Legend: X experts, I intermediate, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from model.architectures.mistral_names import NAMES
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, experts, only
from model.checkpoint import mistral_latent, mistral_mamba
from model.checkpoint.block_scaled import IGNORED, BlockScaledStore, mistral_scales
from model.checkpoint.checkpoint import Checkpoint, read_json
from model.checkpoint.llama import half_split_rows
from model.checkpoint.mistral_rope import read_growth, read_rope
from model.checkpoint.pickled import PickleStore
from model.checkpoint.safetensors import SafetensorsStore
from model.checkpoint.store import Store
from model.config import (
    AttentionConfig,
    LayerConfig,
    MlpConfig,
    ModelConfig,
    NormConfig,
    RouterConfig,
)
from model.errors import CheckpointError

_CONTEXT_TOKENS = 32768
"""What most files without the key were trained for."""
_LONGER = {
    (5120, 14336, 40, 0): 131072,  # Nemo, Pixtral 12B
    (6144, 16384, 56, 8): 65536,  # Mixtral 8x22B; without experts it is Codestral 22B
    (12288, 28672, 88, 0): 131072,  # Large 2, Pixtral Large
}
"""What others were, by hidden and intermediate sizes, layers and experts (their model cards)."""
_SLOWER = {(5120, 32768, 40, 0): 131072}
"""Small 3.1, and what is made of it: Small 3 has the same sizes, and a rotary base of 1e8 instead of 1e9."""
_SEEING = ("vision_encoder.*", "vision_language_adapter.*", "pre_mm_projector_norm.*", "patch_merger.*")
"""What Mistral Small 3.1 and its like see pictures with, which nobody asks for here."""


class MistralCheckpoint(Checkpoint):
    """Raises `CheckpointError` for what is damaged, incomplete or not supported."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(read_json(folder / "params.json"), f"{folder.name}/params.json")
        if settings.text("model_type", "transformer") == "mamba":
            config = mistral_mamba.configure(settings)
            super().__init__(folder, config, store=_store(folder), sources=mistral_mamba.sources(config))
            return
        store = _store(folder)
        if NAMES.rope_exponents in store.tensors:
            raise CheckpointError(
                f"{folder.name} is Mistral Large 4 in Mistral's own layout, which is not supported.",
                hint="Fetch it in HF's layout: config.json, with model*.safetensors beside it.",
            )
        config, eight_bits = _configure(settings), _in_eight_bits(settings)
        if eight_bits:
            store = BlockScaledStore(store, block=None, scales=mistral_scales)
        if config.layers[0].attention.latent is not None:
            sources = mistral_latent.sources(config)
        else:
            sources = _sources(config, fused="layers.0.block_sparse_moe.w1" in store.tensors)
        ignored = (*_SEEING, *IGNORED) if eight_bits else _SEEING
        super().__init__(folder, config, store=store, sources=sources, ignored=ignored)


def _store(folder: Path) -> Store:
    files = sorted(folder.glob("consolidated*.safetensors"))
    if files:
        return SafetensorsStore(files, name=folder.name)
    files = sorted(folder.glob("consolidated*.pth"))
    if not files:
        raise CheckpointError(
            f"{folder.name} has a params.json but no consolidated weights.", hint="Fetch the rest of the model."
        )
    return PickleStore(files, name=folder.name)


def _configure(settings: Settings) -> ModelConfig:
    settings.require("model_type", "transformer", "mamba")
    settings.require("activation", "silu")
    if settings.values.get("kv_lora_rank") is not None:
        return mistral_latent.configure(settings)
    norm = NormConfig(epsilon=settings.number("norm_eps"))
    attention = _attention(settings)
    layer = LayerConfig(norm=norm, mixer=attention, mlp=_mlp(settings))
    layers = settings.integer("n_layers")
    if layers == 0:
        raise settings.wrong("n_layers")
    windows = _windows(settings, layers)
    router = layer.mlp.router
    experts = 0 if router is None else router.experts
    shape = (settings.integer("dim"), layer.mlp.intermediate, layers, experts)
    unsaid = (_LONGER | (_SLOWER if attention.rope.base >= 1e9 else {})).get(shape, _CONTEXT_TOKENS)
    return ModelConfig(
        architecture=_family(settings, experts=experts, uneven=len(set(windows)) > 1),
        hidden=settings.integer("dim"),
        vocabulary=settings.integer("vocab_size"),
        context_tokens=settings.integer("max_position_embeddings", settings.integer("max_seq_len", unsaid)),
        layers=tuple(replace(layer, mixer=replace(attention, window=window)) for window in windows),
        norm=norm,
        tied_embeddings=settings.flag("tied_embeddings", False),
    )


def _family(settings: Settings, *, experts: int, uneven: bool) -> str:
    """What HF calls it. `uneven`: do some layers have a window, and some not?"""
    if experts:
        return "mixtral"
    if any(settings.values.get(key) is not None for key in ("yarn", "llama_4_scaling")):
        return "ministral3"
    return "ministral" if uneven else "mistral"


def _windows(settings: Settings, layers: int) -> list[int | None]:
    """Of each layer. A list is a pattern that repeats (Ministral 8B)."""
    key = _window_key(settings)
    pattern = settings.values.get(key)
    if not isinstance(pattern, list):
        return [settings.optional_integer(key)] * layers
    if (
        not pattern
        or layers % len(pattern)
        or not all(one is None or (type(one) is int and one > 0) for one in pattern)
    ):
        raise settings.wrong(key)
    return pattern * (layers // len(pattern))


def _window_key(settings: Settings) -> str:
    """Its second name is the one in Ministral 8B's file; `mistral-inference` prefers the first, as here."""
    return "sliding_window" if settings.values.get("sliding_window") is not None else "_sliding_window"


def _attention(settings: Settings) -> AttentionConfig:
    heads, head_dim = settings.integer("n_heads"), settings.integer("head_dim")
    kv_heads = settings.integer("n_kv_heads", heads)
    if not kv_heads or heads % kv_heads:
        raise settings.wrong("n_kv_heads")
    # The first models do not say; those with a window turn faster.
    base = settings.number("rope_theta", 1e6 if settings.values.get(_window_key(settings)) is None else 1e4)
    return AttentionConfig(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=read_rope(settings, base=base, dimensions=head_dim),
        growth=read_growth(settings),
    )


def _in_eight_bits(settings: Settings) -> bool:
    """Are matrices stored in e4m3, with one scale each?"""
    quantization = settings.section("quantization")
    if quantization is None:
        return False
    quantization.text("qformat_weight")
    quantization.require("qformat_weight", "fp8_e4m3")
    return True


def _mlp(settings: Settings) -> MlpConfig:
    moe, router = settings.section("moe"), None
    if moe is not None:
        router = RouterConfig(
            experts=moe.integer("num_experts"), chosen=moe.integer("num_experts_per_tok"), normalize=True
        )
    return MlpConfig(intermediate=settings.integer("hidden_dim"), router=router)


def _sources(config: ModelConfig, *, fused: bool) -> Sources:
    found: Sources = {"embedding.weight": Source(("tok_embeddings.weight",))}
    for index, layer in enumerate(config.layers):
        part = _layer(layer, fused=fused)
        found |= {f"layers.{index}.{ours}": source.under(f"layers.{index}.") for ours, source in part.items()}
    found["norm.weight"] = Source(("norm.weight",))
    return found if config.tied_embeddings else found | {"lm_head.weight": Source(("output.weight",))}


def _layer(config: LayerConfig, *, fused: bool) -> Sources:
    turn = _turned(config.attention.head_dim)
    found = {
        "attention_norm.weight": Source(("attention_norm.weight",)),
        "attention.q_proj.weight": Source(("attention.wq.weight",), turn),
        "attention.k_proj.weight": Source(("attention.wk.weight",), turn),
        "attention.v_proj.weight": Source(("attention.wv.weight",)),
        "attention.o_proj.weight": Source(("attention.wo.weight",)),
        "mlp_norm.weight": Source(("ffn_norm.weight",)),
    }
    router = config.mlp.router
    if router is None:
        return found | {
            "mlp.gate_proj.weight": Source(("feed_forward.w1.weight",)),
            "mlp.up_proj.weight": Source(("feed_forward.w3.weight",)),
            "mlp.down_proj.weight": Source(("feed_forward.w2.weight",)),
        }
    if fused:
        cut = partial(_cut, count=router.experts)
        return found | {
            "mlp.router.weight": Source(("block_sparse_moe.gate.weight",)),
            "mlp.gate_proj": Source(("block_sparse_moe.w1",), cut),
            "mlp.up_proj": Source(("block_sparse_moe.w3",), cut),
            "mlp.down_proj": Source(("block_sparse_moe.w2",), lambda tensors: cut(tensors).transpose(1, 2)),
        }
    routed = experts(router.experts, "feed_forward.experts", gate="w1", up="w3", down="w2")
    return found | {"mlp.router.weight": Source(("feed_forward.gate.weight",))} | routed


def _turned(head_dim: int) -> Callable[[list[Tensor]], Tensor]:
    return lambda tensors: half_split_rows(only(tensors), head_dim)


def _cut(tensors: list[Tensor], *, count: int) -> Tensor:
    """[X · I, D] to [X, I, D]."""
    stored = only(tensors)
    return stored.view(count, -1, stored.shape[-1])
