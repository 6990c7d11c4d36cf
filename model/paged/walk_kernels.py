"""A Triton kernel for a few tokens of a recurrence, over states that it reads and writes once, where they lie.

Legend: B sequences, T new tokens of each, G key heads, H heads, K key and V value dimensions, S slots.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def walk_kernel(
    queries,  # float32 [B, T, G, K]
    keys,  # float32 [B, T, G, K]
    values,  # float32 [B, T, H, V]
    fades,  # float32 [B, T, H], logarithms
    shares,  # float32 [B, T, H], where CORRECT
    states,  # float32 [S, H, …]
    slots,  # int64 [B]
    counts,  # int64 [B]
    out,  # float32 [B, T, H, V]; of tokens that do not count, left as it is
    slot_stride,
    TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    KEY_STRIDE: tl.constexpr,
    VALUE_STRIDE: tl.constexpr,
    KEY_ROOM: tl.constexpr,
    COLUMNS: tl.constexpr,
    CORRECT: tl.constexpr,
):
    """Grid: (B · H, ⌈V / COLUMNS⌉). What a state gives in one value dimension depends on no other: each program keeps
    COLUMNS of them, and passes over its sequence's tokens."""
    sequence = tl.program_id(0) // HEADS
    head = tl.program_id(0) % HEADS
    group = head // (HEADS // GROUPS)
    key_at = tl.arange(0, KEY_ROOM)
    value_at = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    has_key, has_value = key_at < KEY_DIM, value_at < VALUE_DIM
    slot, count = tl.load(slots + sequence), tl.load(counts + sequence)
    place = states + slot * slot_stride + head * KEY_DIM * VALUE_DIM
    place = place + key_at[:, None] * KEY_STRIDE + value_at[None, :] * VALUE_STRIDE
    held = has_key[:, None] & has_value[None, :]
    state = tl.load(place, mask=held, other=0.0)
    for token in range(count):
        row = sequence * TOKENS + token
        short = (row * GROUPS + group) * KEY_DIM + key_at
        long = (row * HEADS + head) * VALUE_DIM + value_at
        key = tl.load(keys + short, mask=has_key, other=0.0)
        query = tl.load(queries + short, mask=has_key, other=0.0)
        change = tl.load(values + long, mask=has_value, other=0.0)
        state = state * tl.exp(tl.load(fades + row * HEADS + head))
        if CORRECT:
            change = (change - tl.sum(key[:, None] * state, 0)) * tl.load(shares + row * HEADS + head)
        state = state + key[:, None] * change[None, :]
        tl.store(out + long, tl.sum(query[:, None] * state, 0), mask=has_value)
    tl.store(place, state, mask=held)
