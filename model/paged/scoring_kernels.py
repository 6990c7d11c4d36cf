"""A Triton kernel that scores index keys where they lie, in pages: no more of them than a sequence holds.

Legend: B sequences, M new tokens of each, J index heads, I index dimensions, C places, P pages of a table, S tokens
that there is room for.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def score_kernel(
    queries,  # [B, M, J, I]
    weights,  # float32 [B, M, J]
    keys,  # [C, I], rows key_stride apart
    tables,  # int32 [B, P]
    lengths,  # int32 [B]
    scores,  # float32 [B, M, S]; behind a sequence's last page left as it is
    rows,
    tokens,
    pages_stride,
    key_stride,
    HEADS: tl.constexpr,
    HEADS_ROOM: tl.constexpr,
    DIM: tl.constexpr,
    DIM_ROOM: tl.constexpr,
    ROWS: tl.constexpr,
    PAGE: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """Grid: (B, any, ⌈M / ROWS⌉). Programs take the pages of their sequence in turns, and hold a page's keys while they
    score them for ROWS of the new tokens."""
    sequence = tl.program_id(0)
    first = tl.program_id(2) * ROWS
    pages = (tl.load(lengths + sequence) + PAGE - 1) // PAGE
    head, dim, token = tl.arange(0, HEADS_ROOM), tl.arange(0, DIM_ROOM), tl.arange(0, PAGE)
    has_head, has_dim = head < HEADS, dim < DIM
    for number in range(tl.program_id(1), pages, tl.num_programs(1)):
        page = tl.load(tables + sequence * pages_stride + number).to(tl.int64)
        place = page * PAGE + token
        key = tl.load(keys + place[:, None] * key_stride + dim[None, :], mask=has_dim[None, :], other=0.0)
        if WIDEN:
            key = key.to(tl.float32)
        for row in range(first, tl.minimum(first + ROWS, rows)):
            mine = sequence.to(tl.int64) * rows + row
            asked = queries + (mine * HEADS + head)[:, None] * DIM + dim[None, :]
            query = tl.load(asked, mask=has_head[:, None] & has_dim[None, :], other=0.0)
            if WIDEN:
                query = query.to(tl.float32)
            found = tl.dot(query, tl.trans(key), input_precision="ieee")  # [J, PAGE]
            share = tl.load(weights + mine * HEADS + head, mask=has_head, other=0.0)
            total = tl.sum(tl.maximum(found, 0.0) * share[:, None], 0)
            tl.store(scores + mine * tokens + number * PAGE + token, total)
