"""Experts for one to eight tokens, on a GPU: two kernels, no sorting, no look at the choice by the host.

Legend: N tokens, K experts chosen for each, R = N · K pairs, D hidden, I intermediate.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from model.experts.weights import ExpertWeights, Stack

FEW_TOKENS = 8
"""Above, tokens share enough experts for the grouped path to read each expert once."""


@cache
def has_triton() -> bool:
    """Can kernels be compiled here? Torch brings no Triton on Windows."""
    return importlib.util.find_spec("triton") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TileShape:
    """Weights that a program reads at once: `rows` outputs × up to `columns` inputs, by `warps` warps.

    Defaults by calculation: 8 KB a matrix in flight for each of the several programs that a multiprocessor holds. Not
    yet measured.
    """

    rows: int = 8
    columns: int = 512
    warps: int = 4


def few_experts(
    weights: ExpertWeights, x: Tensor, shares: Tensor, chosen: Tensor, *, shape: TileShape | None = None
) -> Tensor:
    """x [N, D], shares float32 [N, K], chosen [N, K] to [N, D] of x's type; sums are taken in float32."""
    from model.experts.few_kernels import down_kernel, gate_up_kernel

    shape = shape or TileShape()
    tokens, chosen_count = chosen.shape
    pairs, inner_size, hidden = tokens * chosen_count, weights.inner, weights.hidden
    gate, up, down = weights.gate, weights.up, weights.down
    inner = torch.empty(pairs, inner_size, dtype=torch.float32, device=x.device)
    gate_up_kernel[(pairs, _tiles(inner_size, shape.rows))](
        x,
        chosen,
        gate.weight,
        up.weight,
        *or_any(x, gate.scale, up.scale, gate.bias, up.bias),
        inner,
        hidden,
        inner_size,
        weights.experts,
        x.stride(0),
        *strides(gate),
        *strides(up),
        *scaling(gate),
        CHOSEN=chosen_count,
        BIASED=gate.bias is not None,
        ACTIVATION=weights.config.activation,
        ROWS=shape.rows,
        COLUMNS=columns_for(hidden, shape.columns),
        num_warps=shape.warps,
    )
    parts = torch.empty(pairs, hidden, dtype=torch.float32, device=x.device)
    down_kernel[(pairs, _tiles(hidden, shape.rows))](
        inner,
        chosen,
        shares,
        down.weight,
        *or_any(x, down.scale, down.bias),
        parts,
        hidden,
        inner_size,
        weights.experts,
        *strides(down),
        *scaling(down),
        BIASED=down.bias is not None,
        ROWS=shape.rows,
        COLUMNS=columns_for(inner_size, shape.columns),
        num_warps=shape.warps,
    )
    return parts.view(tokens, chosen_count, hidden).sum(1).to(x.dtype)


def columns_for(inputs: int, most: int) -> int:
    """The largest power of two up to `most` that divides the inputs, if one from 128 up does; else one that covers
    them in one go or two."""
    for columns in (most, most // 2, most // 4):
        if columns >= 128 and inputs % columns == 0:
            return columns
    return max(16, min(1 << (inputs - 1).bit_length(), most // 2))


def _tiles(count: int, each: int) -> int:
    return -(-count // each)


def strides(stack: Stack) -> tuple[int, int]:
    """From one expert to the next, and from one output to the next."""
    expert, row, column = stack.weight.stride()
    assert column == 1
    return expert, row


def scaling(stack: Stack) -> tuple[int, bool, int]:
    """How many scales an output has, zeros included; whether there are any; and how many inputs a group has, 0: one
    scale serves them all."""
    if stack.scale is None:
        return 0, False, 0
    scales = stack.scale.shape[2:].numel()
    return scales, True, 0 if scales == 1 else stack.group


def or_any(stand_in: Tensor, *given: Tensor | None) -> list[Tensor]:
    """Kernels take a pointer for what they do not read."""
    return [stand_in if tensor is None else tensor for tensor in given]
