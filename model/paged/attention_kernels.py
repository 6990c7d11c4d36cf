"""Triton kernels for single tokens over pages: each program reads some of a sequence's pages for one key/value head.

Split along the tokens (flash decoding, Dao et al. 2023), so that one sequence keeps a whole GPU busy; a second kernel
joins the splits. What is read is decided on the device by each sequence's length, never by the room it has.

Legend: B sequences, Q new tokens of each, H query heads, G key/value heads, R = H / G, E key and V value dimensions,
C places, P pages of a table, M rows (queries × heads of a group) of a program.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def split_kernel(
    query,  # [B, Q, H, E]
    keys,  # [C, G, E]
    values,  # [C, G, V]
    tables,  # int32 [B, P]
    lengths,  # int32 [B]
    parts,  # float32 [SPLITS, B · Q · H, V]
    weights,  # float32 [SPLITS, B · Q · H], logarithms
    scale,
    sequences,
    pages_stride,
    key_stride,
    value_stride,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    QUERIES: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    KEY_MAIN: tl.constexpr,
    KEY_REST: tl.constexpr,
    VALUE_ROOM: tl.constexpr,
    WINDOW: tl.constexpr,
    SPLITS: tl.constexpr,
    ROWS: tl.constexpr,
    TOKENS: tl.constexpr,
    PAGE: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """Grid: (B · G, SPLITS, ⌈Q · R / ROWS⌉). A key is multiplied in two pieces, KEY_MAIN and up to KEY_REST wide, since
    tensor cores take powers of two alone; values have room for the next one. TOKENS at a time divide a page."""
    RATIO: tl.constexpr = HEADS // GROUPS
    sequence = tl.program_id(0) // GROUPS
    group = tl.program_id(0) % GROUPS
    split = tl.program_id(1)
    rows = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    mine = rows < QUERIES * RATIO
    head = group * RATIO + rows % RATIO
    place = (sequence * QUERIES + rows // RATIO) * HEADS + head  # [M] of B · Q · H
    length = tl.load(lengths + sequence)
    position = length - QUERIES + rows // RATIO

    at = tl.arange(0, KEY_MAIN)
    rest = KEY_MAIN + tl.arange(0, KEY_REST)
    asking = query + place.to(tl.int64)[:, None] * KEY_DIM
    asked = tl.load(asking + at[None, :], mask=mine[:, None], other=0.0)
    asked_rest = tl.load(asking + rest[None, :], mask=mine[:, None] & (rest < KEY_DIM)[None, :], other=0.0)
    if WIDEN:
        asked = asked.to(tl.float32)
        asked_rest = asked_rest.to(tl.float32)
    to = tl.arange(0, VALUE_ROOM)
    total = tl.zeros([ROWS, VALUE_ROOM], dtype=tl.float32)
    largest = tl.full([ROWS], -1e30, dtype=tl.float32)
    weight = tl.zeros([ROWS], dtype=tl.float32)

    first = 0
    if WINDOW > 0:
        first = tl.maximum(length - QUERIES + 1 - WINDOW, 0) // TOKENS
    tiles = (length + TOKENS - 1) // TOKENS - first
    each = (tiles + SPLITS - 1) // SPLITS
    begin = first + split * each
    end = tl.minimum(begin + each, first + tiles)
    for number in range(begin, end):
        token = number * TOKENS + tl.arange(0, TOKENS)
        page = tl.load(tables + sequence * pages_stride + number * TOKENS // PAGE).to(tl.int64)
        row = page * PAGE + token % PAGE
        held = keys + row[:, None] * key_stride + group * KEY_DIM
        key = tl.load(held + at[None, :])
        if WIDEN:
            key = key.to(tl.float32)
        scores = tl.dot(asked, tl.trans(key), input_precision="ieee")  # [M, TOKENS]
        if KEY_MAIN < KEY_DIM:
            key = tl.load(held + rest[None, :], mask=(rest < KEY_DIM)[None, :], other=0.0)
            if WIDEN:
                key = key.to(tl.float32)
            scores += tl.dot(asked_rest, tl.trans(key), input_precision="ieee")
        scores *= scale
        seen = token[None, :] <= position[:, None]
        if WINDOW > 0:
            seen = seen & (token[None, :] > position[:, None] - WINDOW)
        scores = tl.where(seen, scores, -1e30)
        top = tl.maximum(largest, tl.max(scores, 1))
        share = tl.where(seen, tl.exp(scores - top[:, None]), 0.0)
        fade = tl.exp(largest - top)
        value = tl.load(
            values + row[:, None] * value_stride + group * VALUE_DIM + to[None, :],
            mask=(to < VALUE_DIM)[None, :],
            other=0.0,
        )
        if WIDEN:
            value = value.to(tl.float32)
        total = total * fade[:, None] + tl.dot(share.to(value.dtype), value, input_precision="ieee")
        weight = weight * fade + tl.sum(share, 1)
        largest = top
    something = weight > 0
    total = total / tl.where(something, weight, 1.0)[:, None]
    found = tl.where(something, largest + tl.log(tl.where(something, weight, 1.0)), -1e30)
    where = split.to(tl.int64) * sequences * QUERIES * HEADS + place
    tl.store(weights + where, found, mask=mine)
    tl.store(parts + where[:, None] * VALUE_DIM + to[None, :], total, mask=mine[:, None] & (to < VALUE_DIM)[None, :])


@triton.jit
def join_kernel(
    parts,  # float32 [SPLITS, B · Q · H, V]
    weights,  # float32 [SPLITS, B · Q · H]
    sinks,  # [H], or not read
    out,  # [B · Q · H, V]
    rows,
    HEADS: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    VALUE_ROOM: tl.constexpr,
    SPLITS: tl.constexpr,
    SPLITS_ROOM: tl.constexpr,
    SINKS: tl.constexpr,
):
    """One row's splits, weighted. Grid: (B · Q · H,)."""
    row = tl.program_id(0).to(tl.int64)
    split = tl.arange(0, SPLITS_ROOM)
    there = split < SPLITS
    found = tl.load(weights + split * rows + row, mask=there, other=-1e30)
    top = tl.max(found, 0)
    if SINKS:
        sink = tl.load(sinks + row % HEADS).to(tl.float32)
        top = tl.maximum(top, sink)
    share = tl.where(there, tl.exp(found - top), 0.0)
    whole = tl.sum(share, 0)
    if SINKS:
        whole += tl.exp(sink - top)
    to = tl.arange(0, VALUE_ROOM)
    answers = tl.load(
        parts + (split[:, None] * rows + row) * VALUE_DIM + to[None, :],
        mask=there[:, None] & (to < VALUE_DIM)[None, :],
        other=0.0,
    )
    answer = tl.sum(answers * share[:, None], 0) / whole
    tl.store(out + row * VALUE_DIM + to, answer.to(out.dtype.element_ty), mask=to < VALUE_DIM)
