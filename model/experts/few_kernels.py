"""Triton kernels for one to eight tokens: each chosen expert's rows are read where they lie, and nothing else is.

A program takes a few rows of one token's one expert; the number behind the last expert's is nobody's, and gives zeros.
What a token chose is read on the device, so the host never waits. Offsets into weights are 64-bit: a stack of experts
has more than 2³¹ numbers.

Weights of one byte hold a number each, but for unsigned ones, which hold two of four bits (`model.experts.weights`).

Legend: N tokens, K experts chosen for each, R = N · K pairs, D hidden, I intermediate, S scales of an output: one for
each group of inputs, and with four bits a zero beside it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def activate(gate, up, ACTIVATION: tl.constexpr):
    """`model.layers.mlp.combine`, in float32."""
    if ACTIVATION == "silu":
        active = gate * tl.sigmoid(gate) * up
    elif ACTIVATION == "gelu":
        # tanh-GELU: 1 + tanh(z) is 2 · sigmoid(2 z)
        active = gate * tl.sigmoid(1.5957691216057308 * (gate + 0.044715 * gate * gate * gate)) * up
    else:
        gate = tl.minimum(gate, 7.0)
        up = tl.minimum(tl.maximum(up, -7.0), 7.0)
        active = (up + 1.0) * gate * tl.sigmoid(1.702 * gate)
    return active


@triton.jit
def spread(
    scale, rows, there, first, inputs, groups, EACH: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """What `rows` have for the groups of the COLUMNS inputs from `first` on, float32 [ROWS, COLUMNS], each read once.

    A group is a power of two of inputs, that divides those of a row. EACH: numbers that a group has.
    """
    WIDTH: tl.constexpr = GROUP if GROUP < COLUMNS else COLUMNS
    begins = first + tl.arange(0, COLUMNS // WIDTH)[None, :] * WIDTH
    place = scale + rows.to(tl.int64)[:, None] * groups + begins // GROUP * EACH
    found = tl.load(place, mask=there[:, None] & (begins < inputs), other=0.0).to(tl.float32)
    return tl.reshape(tl.broadcast_to(found[:, :, None], [ROWS, COLUMNS // WIDTH, WIDTH]), [ROWS, COLUMNS])


@triton.jit
def four_bits(
    weight, scale, rows, there, first, inputs, stride, groups, GROUP: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Weights of `rows` and of the COLUMNS inputs from `first` on, float32 [ROWS, COLUMNS], zero beyond the last ones.
    A byte is read once, for both its numbers."""
    places = first // 2 + tl.arange(0, COLUMNS // 2)[None, :]
    seen = there[:, None] & (places < inputs // 2)
    pairs = tl.load(weight + rows.to(tl.int64)[:, None] * stride + places, mask=seen, other=0)
    found = tl.interleave((pairs & 15).to(tl.float32), (pairs >> 4).to(tl.float32)) - 8.0
    found *= spread(scale, rows, there, first, inputs, groups, 2, GROUP, ROWS, COLUMNS)
    return found + spread(scale + 1, rows, there, first, inputs, groups, 2, GROUP, ROWS, COLUMNS)


@triton.jit
def tile(
    weight, scale, rows, there, first, inputs, stride, groups, GROUP: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Weights of `rows` and of the COLUMNS inputs from `first` on, float32; scaled here where scales change along the
    inputs (GROUP > 0)."""
    if weight.dtype.element_ty == tl.uint8:
        found = four_bits(weight, scale, rows, there, first, inputs, stride, groups, GROUP, ROWS, COLUMNS)
    else:
        columns = first + tl.arange(0, COLUMNS)[None, :]
        seen = there[:, None] & (columns < inputs)
        found = tl.load(weight + rows.to(tl.int64)[:, None] * stride + columns, mask=seen, other=0.0).to(tl.float32)
        if GROUP > 0:
            found *= spread(scale, rows, there, first, inputs, groups, 1, GROUP, ROWS, COLUMNS)
    return found


@triton.jit
def gate_up_kernel(
    x,  # [N, D]
    chosen,  # [R]
    gate,
    up,  # [X, I, D]
    gate_scale,
    up_scale,  # [X, I, S], or not read
    gate_bias,
    up_bias,  # [X, I], or not read
    inner,  # float32 [R, I]
    hidden_size,
    inner_size,
    experts,
    x_stride,
    gate_expert,
    gate_row,
    up_expert,
    up_row,
    groups,
    SCALED: tl.constexpr,
    GROUP: tl.constexpr,
    CHOSEN: tl.constexpr,
    BIASED: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """inner = activation(x · gate + b, x · up + b). Grid: (pairs, ⌈I / ROWS⌉), pairs first, so that tokens which chose
    the same expert read the same rows at about the same time."""
    pair = tl.program_id(0)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    expert = tl.load(chosen + pair).to(tl.int64)
    token = (pair // CHOSEN).to(tl.int64)
    there = (rows < inner_size) & (expert < experts)
    gates = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    ups = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    scales = expert * inner_size * groups
    for first in range(0, hidden_size, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        read = tl.load(x + token * x_stride + columns, mask=columns < hidden_size, other=0.0).to(tl.float32)[None, :]
        gates += read * tile(
            gate + expert * gate_expert, gate_scale + scales, rows, there, first, hidden_size, gate_row, groups,
            GROUP, ROWS, COLUMNS,
        )  # fmt: skip
        ups += read * tile(
            up + expert * up_expert, up_scale + scales, rows, there, first, hidden_size, up_row, groups,
            GROUP, ROWS, COLUMNS,
        )  # fmt: skip
    gated = tl.sum(gates, 1)
    raised = tl.sum(ups, 1)
    if SCALED and GROUP == 0:
        gated *= tl.load(gate_scale + scales + rows, mask=there, other=0.0)
        raised *= tl.load(up_scale + scales + rows, mask=there, other=0.0)
    if BIASED:
        gated += tl.load(gate_bias + expert * inner_size + rows, mask=there, other=0.0).to(tl.float32)
        raised += tl.load(up_bias + expert * inner_size + rows, mask=there, other=0.0).to(tl.float32)
    place = pair.to(tl.int64) * inner_size + rows
    tl.store(inner + place, activate(gated, raised, ACTIVATION), mask=rows < inner_size)


@triton.jit
def down_kernel(
    inner,  # float32 [R, I]
    chosen,  # [R]
    shares,  # float32 [R]
    down,  # [X, D, I]
    down_scale,  # [X, D, S], or not read
    down_bias,  # [X, D], or not read
    parts,  # float32 [R, D]
    hidden_size,
    inner_size,
    experts,
    down_expert,
    down_row,
    groups,
    SCALED: tl.constexpr,
    GROUP: tl.constexpr,
    BIASED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """parts = share · (inner · down + b). Grid: (pairs, ⌈D / ROWS⌉). Pairs are added up afterwards, in one order."""
    pair = tl.program_id(0)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    expert = tl.load(chosen + pair).to(tl.int64)
    there = (rows < hidden_size) & (expert < experts)
    total = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    scales = expert * hidden_size * groups
    for first in range(0, inner_size, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        place = inner + pair.to(tl.int64) * inner_size + columns
        read = tl.load(place, mask=columns < inner_size, other=0.0).to(tl.float32)[None, :]
        total += read * tile(
            down + expert * down_expert, down_scale + scales, rows, there, first, inner_size, down_row, groups,
            GROUP, ROWS, COLUMNS,
        )  # fmt: skip
    answer = tl.sum(total, 1)
    if SCALED and GROUP == 0:
        answer *= tl.load(down_scale + scales + rows, mask=there, other=0.0)
    if BIASED:
        answer += tl.load(down_bias + expert * hidden_size + rows, mask=there, other=0.0).to(tl.float32)
    place = pair.to(tl.int64) * hidden_size + rows
    tl.store(parts + place, answer * tl.load(shares + pair), mask=rows < hidden_size)
