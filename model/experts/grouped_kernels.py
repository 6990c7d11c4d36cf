"""Triton kernels for many tokens: one matrix product for each expert over the tokens that chose it, in one launch.

Pairs of token and expert are sorted by expert, and each expert's are cut into tiles; a tile knows its expert and its
rows (`model.experts.grouped` lays them out, on the device).

Legend: P pairs, D hidden, I intermediate, M × N × K the numbers a program multiplies at once.
"""

from __future__ import annotations

import triton
import triton.language as tl

from model.experts.few_kernels import activate, four_bits, spread


@triton.jit
def weights_tile(
    weight, scale, columns, there, first, size, stride, groups, GROUPED: tl.constexpr, GROUP: tl.constexpr, like,
    N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """[K, N] of a matrix [outputs, size], of the inputs from `first` on, in the type of `like`; scaled here where
    scales change along the inputs."""
    if weight.dtype.element_ty == tl.uint8:
        found = tl.trans(four_bits(weight, scale, columns, there, first, size, stride, groups, GROUP, N, K))
    else:
        inputs = first + tl.arange(0, K)[:, None]
        seen = (inputs < size) & there[None, :]
        found = tl.load(weight + columns.to(tl.int64)[None, :] * stride + inputs, mask=seen, other=0.0)
        if found.dtype != like.dtype:
            found = found.to(tl.float32)
        if GROUPED:
            found *= tl.trans(spread(scale, columns, there, first, size, groups, 1, GROUP, N, K))
    return found.to(like.dtype)


@triton.jit
def multiply(left, right, PRECISION: tl.constexpr, WIDEN: tl.constexpr):
    """Products summed in float32. WIDEN is for Triton's interpreter, which knows no bfloat16 here."""
    if WIDEN:
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, input_precision=PRECISION)


@triton.jit
def grouped_gate_up_kernel(
    x,  # [·, D]
    tokens,  # [P], the row of x of each pair
    tile_expert,
    tile_first,
    tile_end,  # [tiles]
    gate,
    up,  # [X, I, D]
    gate_scale,
    up_scale,
    gate_bias,
    up_bias,
    inner,  # [P, I], in x's type
    hidden_size,
    inner_size,
    x_stride,
    gate_expert,
    gate_row,
    up_expert,
    up_row,
    groups,
    SCALED: tl.constexpr,
    GROUP: tl.constexpr,
    BIASED: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
):
    """inner = activation(x · gate + b, x · up + b) of the pairs of a tile. Grid: (tiles, ⌈I / N⌉)."""
    tile_number = tl.program_id(0)
    first = tl.load(tile_first + tile_number)
    end = tl.load(tile_end + tile_number)
    if first < end:
        expert = tl.load(tile_expert + tile_number).to(tl.int64)
        rows = first + tl.arange(0, M)
        mine = rows < end
        token = tl.load(tokens + rows, mask=mine, other=0).to(tl.int64)
        columns = tl.program_id(1) * N + tl.arange(0, N)
        there = columns < inner_size
        gates = tl.zeros([M, N], dtype=tl.float32)
        ups = tl.zeros([M, N], dtype=tl.float32)
        scales = expert * inner_size * groups
        for begin in range(0, hidden_size, K):
            inputs = begin + tl.arange(0, K)
            within = inputs < hidden_size
            read = tl.load(
                x + token[:, None] * x_stride + inputs[None, :], mask=mine[:, None] & within[None, :], other=0.0
            )
            part = weights_tile(
                gate + expert * gate_expert, gate_scale + scales, columns, there, begin, hidden_size, gate_row, groups,
                SCALED and GROUP > 0, GROUP, read, N, K,
            )  # fmt: skip
            gates += multiply(read, part, PRECISION, WIDEN)
            part = weights_tile(
                up + expert * up_expert, up_scale + scales, columns, there, begin, hidden_size, up_row, groups,
                SCALED and GROUP > 0, GROUP, read, N, K,
            )  # fmt: skip
            ups += multiply(read, part, PRECISION, WIDEN)
        if SCALED and GROUP == 0:
            gates *= tl.load(gate_scale + scales + columns, mask=there, other=0.0)[None, :]
            ups *= tl.load(up_scale + scales + columns, mask=there, other=0.0)[None, :]
        if BIASED:
            gates += tl.load(gate_bias + expert * inner_size + columns, mask=there, other=0.0).to(tl.float32)[None, :]
            ups += tl.load(up_bias + expert * inner_size + columns, mask=there, other=0.0).to(tl.float32)[None, :]
        place = inner + rows.to(tl.int64)[:, None] * inner_size + columns[None, :]
        active = activate(gates, ups, ACTIVATION)
        tl.store(place, active.to(inner.dtype.element_ty), mask=mine[:, None] & there[None, :])


@triton.jit
def grouped_down_kernel(
    inner,  # [P, I]
    pairs,  # [P], where in `parts` each row goes
    shares,  # float32 [P], by place in `parts`
    tile_expert,
    tile_first,
    tile_end,  # [tiles]
    down,  # [X, D, I]
    down_scale,
    down_bias,
    parts,  # float32 [P, D]
    hidden_size,
    inner_size,
    down_expert,
    down_row,
    groups,
    SCALED: tl.constexpr,
    GROUP: tl.constexpr,
    BIASED: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
):
    """parts = share · (inner · down + b) of the pairs of a tile, put back in order. Grid: (tiles, ⌈D / N⌉)."""
    tile_number = tl.program_id(0)
    first = tl.load(tile_first + tile_number)
    end = tl.load(tile_end + tile_number)
    if first < end:
        expert = tl.load(tile_expert + tile_number).to(tl.int64)
        rows = first + tl.arange(0, M)
        mine = rows < end
        columns = tl.program_id(1) * N + tl.arange(0, N)
        there = columns < hidden_size
        total = tl.zeros([M, N], dtype=tl.float32)
        scales = expert * hidden_size * groups
        for begin in range(0, inner_size, K):
            inputs = begin + tl.arange(0, K)
            within = inputs < inner_size
            place = inner + rows.to(tl.int64)[:, None] * inner_size + inputs[None, :]
            read = tl.load(place, mask=mine[:, None] & within[None, :], other=0.0)
            part = weights_tile(
                down + expert * down_expert, down_scale + scales, columns, there, begin, inner_size, down_row, groups,
                SCALED and GROUP > 0, GROUP, read, N, K,
            )  # fmt: skip
            total += multiply(read, part, PRECISION, WIDEN)
        if SCALED and GROUP == 0:
            total *= tl.load(down_scale + scales + columns, mask=there, other=0.0)[None, :]
        if BIASED:
            total += tl.load(down_bias + expert * hidden_size + columns, mask=there, other=0.0).to(tl.float32)[None, :]
        pair = tl.load(pairs + rows, mask=mine, other=0).to(tl.int64)
        total *= tl.load(shares + pair, mask=mine, other=0.0)[:, None]
        tl.store(parts + pair[:, None] * hidden_size + columns[None, :], total, mask=mine[:, None] & there[None, :])
