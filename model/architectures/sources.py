"""Where a decoder's weights lie in a checkpoint: for each of ours, the stored tensors and how they become it.

The pieces here are shared by the architectures; what is stored otherwise, each says itself. Knows no file format.

Legend: X experts, I intermediate, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import NO_MLP, AttentionConfig, LayerConfig, ModelConfig

Convert = Callable[[list[Tensor]], Tensor]


def only(tensors: list[Tensor]) -> Tensor:
    """The one tensor as it is."""
    (tensor,) = tensors
    return tensor


@dataclass(frozen=True, slots=True)
class Source:
    """The stored tensors that make up one weight, and the function that makes it of them."""

    names: tuple[str, ...]
    convert: Convert = only
    packed: bool = False
    """Do the stored numbers stand for others, which `convert` unpacks? Else they must be floating-point."""
    uneven: bool = False
    """May the stored tensors differ in shape?"""

    def under(self, prefix: str) -> Source:
        return Source(tuple(prefix + name for name in self.names), self.convert, self.packed, self.uneven)


Sources = dict[str, Source]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a family calls its parts. Layers are `layer`, with the number in place of {}, and a dot behind."""

    layer: str = "model.layers.{}."
    embedding: str = "model.embed_tokens"
    norm: str = "model.norm"
    head: str = "lm_head"
    rope_exponents: str = "model.rotary_emb.alpha"
    attention_norm: str = "input_layernorm"
    mlp_norm: str = "post_attention_layernorm"
    attention: Mapping[str, str] | None = None
    """Projections that are not called as ours are, such as {"o_proj": "dense"}."""
    ignored: tuple[str, ...] = ("*rotary_emb.inv_freq", "*masked_bias")
    """Names that hold nothing the decoder computes with, as shell patterns."""


def linear(ours: str, theirs: str, *, bias: bool) -> Sources:
    """A matrix, and its bias where it has one."""
    both = {f"{ours}.weight": Source((f"{theirs}.weight",))}
    return both | ({f"{ours}.bias": Source((f"{theirs}.bias",))} if bias else {})


def attention(config: AttentionConfig, names: Mapping[str, str] | None = None) -> Sources:
    """Projections, head norms and sinks, under `self_attn`."""
    found: Sources = {}
    for part in ("q_proj", "k_proj", "v_proj"):
        found |= linear(f"attention.{part}", f"self_attn.{(names or {}).get(part, part)}", bias=config.qkv_bias)
    found |= linear("attention.o_proj", f"self_attn.{(names or {}).get('o_proj', 'o_proj')}", bias=config.out_bias)
    if config.head_norm is not None:
        found |= linear("attention.q_norm", "self_attn.q_norm", bias=False)
        found |= linear("attention.k_norm", "self_attn.k_norm", bias=False)
    if config.sinks:
        found["attention.sinks"] = Source(("self_attn.sinks",))
    return found


def gated(prefix: str = "mlp", *, ours: str = "mlp") -> Sources:
    """A dense SwiGLU block."""
    parts = ("gate_proj", "up_proj", "down_proj")
    return {f"{ours}.{part}.weight": Source((f"{prefix}.{part}.weight",)) for part in parts}


def stacked(count: int, pattern: str) -> Source:
    """One tensor for each expert, {} in place of its number, to one of all."""
    return Source(tuple(pattern.format(index) for index in range(count)), torch.stack)


def experts(count: int, prefix: str = "mlp.experts", *, gate: str, up: str, down: str) -> Sources:
    """Experts whose matrices lie one by one."""
    named = {"gate_proj": gate, "up_proj": up, "down_proj": down}
    return {f"mlp.{ours}": stacked(count, f"{prefix}.{{}}.{theirs}.weight") for ours, theirs in named.items()}


def first_half(tensors: list[Tensor]) -> Tensor:
    """[X, 2 I, …], gates before ups, to the gates."""
    return only(tensors).chunk(2, dim=1)[0]


def second_half(tensors: list[Tensor]) -> Tensor:
    """[X, 2 I, …], gates before ups, to the ups."""
    return only(tensors).chunk(2, dim=1)[1]


def whole(config: ModelConfig, names: Names, layer: Callable[[LayerConfig], Sources]) -> Sources:
    """Every weight of a model in the decoder's order; `layer` gives those of one layer but its norms."""
    found = linear("embedding", names.embedding, bias=False)
    for index, shape in enumerate(config.layers):
        biased = shape.norm.kind == "layer"
        part = linear("attention_norm", names.attention_norm, bias=biased)
        if not shape.parallel and shape.mlp != NO_MLP:
            part |= linear("mlp_norm", names.mlp_norm, bias=biased)
        part |= layer(shape)
        prefix = names.layer.format(index)
        found |= {f"layers.{index}.{ours}": source.under(prefix) for ours, source in part.items()}
    found |= linear("norm", names.norm, bias=config.norm.kind == "layer")
    if config.learned_rope is not None:
        found["rope_exponents"] = Source((names.rope_exponents,))
    if not config.tied_embeddings:
        found |= linear("lm_head", names.head, bias=config.head_bias)
    return found
