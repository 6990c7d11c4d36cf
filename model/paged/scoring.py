"""Index keys scored where they lie, in pages, by one kernel.

In plain torch operations all that a sequence has room for would be copied together first, whatever it holds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.experts.few import has_triton
from model.paged.pool import PAGE_TOKENS

_ROWS = 32
"""New tokens that a program scores a page for: its keys are read once for as many."""
_PROGRAMS = 1024
"""So many at most share a sequence's pages. Not yet measured."""
_LEAST_ROOM = 16
"""What a tensor core multiplies at once."""


def has_kernel(keys: Tensor) -> bool:
    """Does one run where these lie?"""
    return keys.device.type == "cuda" and has_triton()


def score(queries: Tensor, weights: Tensor, keys: Tensor, tables: Tensor, lengths: Tensor) -> Tensor:
    """What queries [B, J, M, I] and weights float32 [B, M, J] make of the index keys [C, I] in the pages `tables` int32
    [B, P], of which sequence b holds `lengths[b]` tokens: float32 [B, M, S], anything behind these."""
    from model.paged.scoring_kernels import score_kernel

    batch, heads, rows, dim = queries.shape
    tokens = tables.shape[1] * PAGE_TOKENS
    assert keys.stride(1) == tables.stride(1) == 1
    scores = torch.empty(batch, rows, tokens, dtype=torch.float32, device=keys.device)
    each = min(rows, _ROWS)
    score_kernel[(batch, min(tables.shape[1], _PROGRAMS), -(-rows // each))](
        queries.transpose(1, 2).to(keys.dtype).contiguous(),
        weights.contiguous(),
        keys,
        tables,
        lengths,
        scores,
        rows,
        tokens,
        tables.stride(0),
        keys.stride(0),
        HEADS=heads,
        HEADS_ROOM=_room(heads),
        DIM=dim,
        DIM_ROOM=_room(dim),
        ROWS=each,
        PAGE=PAGE_TOKENS,
        WIDEN=keys.device.type == "cpu",
        num_warps=4,
    )
    return scores


def _room(count: int) -> int:
    return max(_LEAST_ROOM, 1 << (count - 1).bit_length())
