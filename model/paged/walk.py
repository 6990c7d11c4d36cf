"""A few tokens of a recurrence for several sequences at once, each over the state in its slot: one kernel.

In plain torch operations a state, which is large, is read and written several times for each token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.experts.few import has_triton
from model.layers.recurrent import Recurrence

_ADDING_COLUMNS, _CORRECTING_COLUMNS = 16, 32
"""Value dimensions of a program. By calculation, with 128 key dimensions: 8 KB of state, or 16 KB where only the value
dimensions lie side by side, so that each read is a whole line. Not yet measured."""


def has_kernel(states: Tensor) -> bool:
    """Does one run where these lie?"""
    return states.device.type == "cuda" and has_triton()


def walk(rows: Recurrence, states: Tensor, slots: Tensor, counts: Tensor) -> Tensor:
    """What each token reads, float32 [B, T, H, V]: of sequence b the first `counts[b]`, the others read nothing.

    `states` [S, …] float32 are changed in place, at `slots` int64 [B], of which no two are alike but those of sequences
    without tokens.
    """
    from model.paged.walk_kernels import walk_kernel

    query, key, value, fades = (part.contiguous() for part in (rows.query, rows.key, rows.value, rows.fades))
    shares = fades if rows.shares is None else rows.shares.contiguous()
    batch, tokens, groups, key_dim = key.shape
    heads, value_dim = value.shape[2:]
    assert states[0].is_contiguous()
    corrects = rows.shares is not None
    columns = _CORRECTING_COLUMNS if corrects else _ADDING_COLUMNS
    out = torch.zeros_like(value)
    walk_kernel[(batch * heads, -(-value_dim // columns))](
        query,
        key,
        value,
        fades,
        shares,
        states,
        slots,
        counts,
        out,
        states.stride(0),
        TOKENS=tokens,
        HEADS=heads,
        GROUPS=groups,
        KEY_DIM=key_dim,
        VALUE_DIM=value_dim,
        KEY_STRIDE=value_dim if corrects else 1,
        VALUE_STRIDE=1 if corrects else key_dim,
        KEY_ROOM=1 << (key_dim - 1).bit_length(),
        COLUMNS=columns,
        CORRECT=corrects,
    )
    return out
