"""A GGUF file of any architecture as a `Checkpoint`: its tensors under the decoder's names.

Query and key rows of Llama, Mistral and Granite are stored for interleaved rotary positions and put back in half-split
order; so are DeepSeek's, as HF has them too. Experts lie stacked, as the decoder wants them, but for the first files of
Mixtral, where they lie one by one.

Legend: X experts, I intermediate, D hidden, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from model.architectures.deepseek_v2 import half_split_tail
from model.architectures.qwen3_next import gated_queries
from model.architectures.sources import Source, Sources, first_half, linear, only, second_half, stacked
from model.architectures.table import ARCHITECTURES
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_recurrent import delta, state_space
from model.checkpoint.gguf_rope import FACTORS, adjusted
from model.checkpoint.gguf_settings import read_settings
from model.checkpoint.llama import half_split_rows
from model.checkpoint.store import Stored
from model.config import NO_MLP, AttentionConfig, DeltaConfig, LayerConfig, MlpConfig, ModelConfig, StateSpaceConfig

_INTERLEAVED = frozenset(
    {"llama", "mixtral", "ministral3", "granite", "granitemoe", "granitemoehybrid", "granitemoeshared"}
)


class GgufCheckpoint(Checkpoint):
    """Reads from an open file; raises `CheckpointError` for what is not supported or does not fit."""

    def __init__(self, file: GgufFile) -> None:
        settings = read_settings(file)
        config = adjusted(ARCHITECTURES[settings.text("model_type")].configure(settings), file)
        sources = _sources(config, file.tensors)
        super().__init__(file.path, config, store=_GgufStore(file), sources=sources, ignored=(FACTORS,))


class _GgufStore:
    """`Store` over a file whose tensors all decode to float32."""

    def __init__(self, file: GgufFile) -> None:
        self.name = file.path.name
        self.read = file.read
        self.tensors: Mapping[str, Stored] = {
            name: Stored(info.shape, torch.float32, info.format.name) for name, info in file.tensors.items()
        }


def _sources(config: ModelConfig, stored: Mapping[str, object]) -> Sources:
    found = linear("embedding", "token_embd", bias=False)
    for index, layer in enumerate(config.layers):
        prefix = f"blk.{index}."
        there = {name.removeprefix(prefix) for name in stored if name.startswith(prefix)}
        part = _layer(layer, there, interleaved=config.architecture in _INTERLEAVED)
        found |= {f"layers.{index}.{ours}": source.under(prefix) for ours, source in part.items()}
    found |= linear("norm", "output_norm", bias=config.norm.kind == "layer")
    return found if config.tied_embeddings else found | linear("lm_head", "output", bias=config.head_bias)


def _layer(config: LayerConfig, there: set[str], *, interleaved: bool) -> Sources:
    biased = config.norm.kind == "layer"
    found = linear("attention_norm", "attn_norm", bias=biased) | _mixer(config, there, interleaved=interleaved)
    if config.mlp == NO_MLP:
        return found
    if not config.parallel:
        second = "post_attention_norm" if "post_attention_norm.weight" in there else "ffn_norm"
        found |= linear("mlp_norm", second, bias=biased)
    return found | (_dense("mlp", "", config.mlp) if config.mlp.router is None else _mixture(config.mlp, there))


def _mixer(config: LayerConfig, there: set[str], *, interleaved: bool) -> Sources:
    mixer = config.mixer
    if isinstance(mixer, StateSpaceConfig):
        return state_space(mixer)
    if isinstance(mixer, DeltaConfig):
        return delta(mixer, there)
    return _attention(mixer, there, interleaved=interleaved) if mixer.latent is None else _latent(mixer, there)


def _attention(config: AttentionConfig, there: set[str], *, interleaved: bool) -> Sources:
    found: Sources = {}
    kinds = ("weight", "bias") if config.qkv_bias else ("weight",)
    sizes = (config.heads * config.head_dim, config.kv_heads * config.head_dim, config.kv_heads * config.head_dim)
    for index, part in enumerate("qkv"):
        for kind in kinds:
            source = Source((f"attn_{part}.{kind}",), _turned(config.head_dim) if interleaved and part != "v" else only)
            if "attn_qkv.weight" in there:
                source = Source((f"attn_qkv.{kind}",), _rows(sum(sizes[:index]), sizes[index]))
            found[f"attention.{part}_proj.{kind}"] = source
    found |= linear("attention.o_proj", "attn_output", bias=config.out_bias)
    if config.head_norm is not None:
        found |= linear("attention.q_norm", "attn_q_norm", bias=False)
        found |= linear("attention.k_norm", "attn_k_norm", bias=False)
    if config.gated:
        found |= gated_queries(config, "attn_q")
    return found | ({"attention.sinks": Source(("attn_sinks.weight",))} if config.sinks else {})


def _latent(config: AttentionConfig, there: set[str]) -> Sources:
    latent = config.latent
    assert latent is not None
    turn_queries = partial(half_split_tail, period=config.head_dim, tail=latent.rope_dim)
    turn_keys = partial(half_split_tail, period=latent.rank + latent.rope_dim, tail=latent.rope_dim)
    found: Sources = {}
    if latent.query_rank is None:
        found["attention.q_proj.weight"] = Source(("attn_q.weight",), turn_queries)
    else:
        found |= linear("attention.q_down_proj", "attn_q_a", bias=False)
        found |= linear("attention.q_norm", "attn_q_a_norm", bias=False)
        found["attention.q_up_proj.weight"] = Source(("attn_q_b.weight",), turn_queries)
    found["attention.kv_down_proj.weight"] = Source(("attn_kv_a_mqa.weight",), turn_keys)
    found |= linear("attention.kv_norm", "attn_kv_a_norm", bias=False)
    if "attn_kv_b.weight" in there:
        found |= linear("attention.kv_up_proj", "attn_kv_b", bias=False)
    else:
        found["attention.kv_up_proj.weight"] = Source(("attn_k_b.weight", "attn_v_b.weight"), _joined, uneven=True)
    return found | linear("attention.o_proj", "attn_output", bias=config.out_bias)


def _mixture(config: MlpConfig, there: set[str]) -> Sources:
    assert config.router is not None
    found = linear("mlp.router", "ffn_gate_inp", bias=config.router.bias)
    for part in ("gate", "up", "down"):
        single = f"ffn_{part}.0.weight" in there
        many = stacked(config.router.experts, f"ffn_{part}.{{}}.weight")
        found[f"mlp.{part}_proj"] = many if single else Source((f"ffn_{part}_exps.weight",))
        if config.bias:
            found[f"mlp.{part}_bias"] = Source((f"ffn_{part}_exps.bias",))
    if (fused := "ffn_gate_up_exps.weight") in there:
        found |= {"mlp.gate_proj": Source((fused,), first_half), "mlp.up_proj": Source((fused,), second_half)}
    if config.shared_gate:
        found["mlp.shared_gate.weight"] = Source(("ffn_gate_inp_shexp.weight",), _row)
    return found | (_dense("mlp.shared", "_shexp", config) if config.shared else {})


def _dense(ours: str, ending: str, config: MlpConfig) -> Sources:
    found: Sources = {}
    for part in ("gate", "up", "down") if config.gated else ("up", "down"):
        found |= linear(f"{ours}.{part}_proj", f"ffn_{part}{ending}", bias=config.bias)
    return found


def _turned(head_dim: int) -> Callable[[list[Tensor]], Tensor]:
    return lambda tensors: half_split_rows(only(tensors), head_dim)


def _row(tensors: list[Tensor]) -> Tensor:
    """[D] or [1, D] to [1, D]."""
    return only(tensors).reshape(1, -1)


def _rows(start: int, count: int) -> Callable[[list[Tensor]], Tensor]:
    return lambda tensors: only(tensors)[start : start + count]


def _joined(tensors: list[Tensor]) -> Tensor:
    """Keys [H, rank, plain], laid out for absorption, and values [H, value, rank] to rows of plain, then value."""
    keys, values = tensors
    return torch.cat((keys.transpose(1, 2), values), 1).flatten(0, 1)
