"""The weights of one serving block."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from model.linear import Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLayer:
    """One block's weights. The query rows of `qkv`, and of its bias, are divided by √E; the rows of `gate_up` are gate,
    then up.

    Query and key rows of a head are in the interleaved rotary order: what turns together stands together.
    """

    attention_norm: Tensor
    qkv: Linear
    qkv_bias: Tensor | None
    """float32 [(H + 2 G) · E]; None: there is none."""
    out: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear
