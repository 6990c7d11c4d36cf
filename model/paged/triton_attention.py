"""Attention of single tokens over pages by our own Triton kernels: every head size, windows and sinks.

Legend: B sequences, Q new tokens of each, H query heads, G key/value heads, E key and V value dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.paged.attention import Attend, Held, Look
from model.paged.gathered import GatheredAttention
from model.paged.pool import PAGE_TOKENS
from model.paged.spans import Spans, Steps

_LEAST_ROWS = 16
"""What a tensor core multiplies at once."""
_MOST_ROWS = 64
_WIDE_DIM, _WIDE_TOKENS = 256, 32
"""Longer keys (latents) are read fewer at a time, for fewer rows, so that registers and shared memory hold them."""
_MOST_SPLITS = 64
_PROGRAMS_EACH = 2
"""Programs wanted for each multiprocessor. Not yet measured."""


class TritonAttention:
    """Prompts are gathered."""

    name = "triton"

    def ragged(self, spans: Spans) -> Attend:
        return GatheredAttention().ragged(spans)

    def steady(self, steps: Steps) -> Attend:
        return _Steady(steps)


@dataclass(frozen=True, slots=True)
class _Steady:
    steps: Steps

    def begin(self) -> None:
        """Lengths and tables are read where they are."""

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        from model.paged.attention_kernels import join_kernel, split_kernel

        steps, heads, groups = self.steps, query.shape[1], held.keys.shape[1]
        key_dim, value_dim = query.shape[2], held.values.shape[2]
        assert groups == 1 or (held.keys.stride(1) == key_dim and held.values.stride(1) == value_dim)
        assert held.keys.stride(2) == held.values.stride(2) == 1
        query = query.contiguous()
        group_rows = steps.queries * (heads // groups)
        main, wide = 1 << (key_dim.bit_length() - 1), key_dim > _WIDE_DIM
        rows = min(_LEAST_ROWS if wide else _MOST_ROWS, max(_LEAST_ROWS, 1 << (group_rows - 1).bit_length()))
        blocks = -(-group_rows // rows)
        splits = _splits(steps, groups * blocks)
        total = len(query) * heads
        parts = torch.empty(splits, total, value_dim, dtype=torch.float32, device=query.device)
        weights = torch.empty(splits, total, dtype=torch.float32, device=query.device)
        out = query.new_empty(len(query), heads, value_dim)
        split_kernel[(steps.sequences * groups, splits, blocks)](
            query,
            held.keys,
            held.values,
            steps.tables,
            steps.lengths,
            parts,
            weights,
            look.scale,
            steps.sequences,
            steps.tables.stride(0),
            held.keys.stride(0),
            held.values.stride(0),
            HEADS=heads,
            GROUPS=groups,
            QUERIES=steps.queries,
            KEY_DIM=key_dim,
            VALUE_DIM=value_dim,
            KEY_MAIN=main,
            KEY_REST=_room(key_dim - main),
            VALUE_ROOM=_room(value_dim),
            WINDOW=look.window or 0,
            SPLITS=splits,
            ROWS=rows,
            TOKENS=_WIDE_TOKENS if wide else PAGE_TOKENS,
            PAGE=PAGE_TOKENS,
            WIDEN=query.device.type == "cpu",
            num_warps=8 if wide else 4,
            num_stages=2,
        )
        join_kernel[(total,)](
            parts,
            weights,
            query if look.sinks is None else look.sinks,
            out,
            total,
            HEADS=heads,
            VALUE_DIM=value_dim,
            VALUE_ROOM=_room(value_dim),
            SPLITS=splits,
            SPLITS_ROOM=1 << (splits - 1).bit_length(),
            SINKS=look.sinks is not None,
            num_warps=1,
        )
        return out


def _room(dimensions: int) -> int:
    return max(16, 1 << max(0, dimensions - 1).bit_length())


def _splits(steps: Steps, programs: int) -> int:
    """Enough that every multiprocessor has work, no more than there are pages."""
    processors = 2
    if steps.device.type == "cuda":
        processors = torch.cuda.get_device_properties(steps.device).multi_processor_count
    wanted = -(-_PROGRAMS_EACH * processors // (steps.sequences * programs))
    return max(1, min(wanted, _MOST_SPLITS, steps.capacity_tokens // PAGE_TOKENS))
