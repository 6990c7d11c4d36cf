"""Attention by xformers 0.0.35, on a GPU: packed prompts, prompts behind a prefix, single tokens over pages.

Grouped queries are five-dimensional, [1, M, G, R, E], over keys and values that are expanded views: nothing is
repeated. xformers is imported when the first mask is made, since it takes a second and warns about its extension,
which none of these operators needs.

Legend: N new tokens of all sequences, S tokens held by all, B sequences, Q new tokens of each, H query heads, G
key/value heads, R = H / G, E head dimensions, C places.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from model.paged.attention import Attend, Held, Look
from model.paged.pool import PAGE_TOKENS
from model.paged.spans import Spans, Steps

DECODE_HEAD_DIMS = (16, 32, 64, 128, 256, 512)
"""What the kernel for single tokens takes."""


@cache
def masks() -> Any:
    """xformers' module of masks, with its warning about the missing C++ extension kept quiet."""
    logger = logging.getLogger("xformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from xformers.ops.fmha import attn_bias
    finally:
        logger.setLevel(level)
    return attn_bias


class XformersAttention:
    """Knows no sinks, and no values of another size than keys: `supports` says what it computes."""

    name = "xformers"

    @staticmethod
    def supports(held: Held, look: Look, *, steady: bool) -> bool:
        head_dim = held.keys.shape[2]
        if look.sinks is not None or held.values.shape[2] != head_dim or head_dim % 8 or head_dim > 256:
            return False
        return not steady or head_dim in DECODE_HEAD_DIMS

    def ragged(self, spans: Spans) -> Attend:
        return _Ragged(spans)

    def steady(self, steps: Steps) -> Attend:
        return _Steady(steps)


def prompt_mask(spans: Spans, window: int | None) -> Any:
    """For new tokens [N] over all tokens held [S], packed: each sequence sees its own, up to itself."""
    bias = masks()
    if spans.is_fresh:
        fresh = bias.BlockDiagonalCausalMask.from_seqlens(spans.queries, device=spans.device)
        return fresh if window is None else fresh.make_local_attention(window)
    behind = bias.BlockDiagonalMask.from_seqlens(spans.queries, spans.lengths, device=spans.device)
    if window is None:
        return behind.make_causal_from_bottomright()
    return behind.make_local_attention_from_bottomright(window)


def step_mask(steps: Steps) -> Any:
    """For single tokens over pages. Lengths and tables are the buffers of `steps`, read at each run; what the host is
    told of them is the room there is, so that one mask serves as long as the buffers do."""
    bias = masks()
    mask = bias.PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.from_seqlens(
        [steps.queries] * steps.sequences,
        [steps.capacity_tokens] * steps.sequences,
        steps.tables,
        PAGE_TOKENS,
        device=steps.device,
    )
    mask.k_seqinfo.seqlen = steps.lengths
    return mask


@dataclass(frozen=True, slots=True)
class WindowBuffers:
    """Each new token as a sequence of its own, with where its window begins and ends: the paged kernel knows no
    windows, but it knows sequences that begin late. int32: starts [B · Q + 1], ends [B · Q], tables [B · Q, P]."""

    starts: Tensor
    ends: Tensor
    tables: Tensor

    def update(self, steps: Steps, window: int) -> None:
        """On the device."""
        ends = (steps.positions() + 1).flatten()
        self.ends.copy_(ends)
        self.starts[:-1].copy_((ends - window).clamp_min(0))
        rows = self.tables.view(steps.sequences, steps.queries, -1)
        rows.copy_(steps.tables[:, None].expand_as(rows))


def window_mask(steps: Steps, window: int) -> tuple[Any, WindowBuffers]:
    """For single tokens over pages, seeing `window` tokens each; the buffers must be updated before each run."""
    bias = masks()
    rows = steps.sequences * steps.queries
    buffers = WindowBuffers(
        starts=torch.zeros(rows + 1, dtype=torch.int32, device=steps.device),
        ends=torch.zeros(rows, dtype=torch.int32, device=steps.device),
        tables=torch.zeros(rows, steps.tables.shape[1], dtype=torch.int32, device=steps.device),
    )
    # Made by hand: `from_seqlens` of this class asks for one start too few (0.0.35).
    held = bias._GappySeqInfo(
        seqstart=buffers.starts,
        seqstart_py=[0] * (rows + 1),
        max_seqlen=min(steps.capacity_tokens, window),
        min_seqlen=1,
        seqlen=buffers.ends,
        seqlen_py=[steps.capacity_tokens] * rows,
    )
    asked = bias._SeqLenInfo.from_seqlens([1] * rows, device=steps.device)
    mask = bias.PagedBlockDiagonalGappyKeysMask(
        q_seqinfo=asked, k_seqinfo=held, block_tables=buffers.tables, page_size=PAGE_TOKENS
    )
    buffers.update(steps, window)
    return mask, buffers


def grouped(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """query [N, H, E] to [1, N, G, R, E], keys and values [S, G, E] to [1, S, G, R, E], the last two without a copy."""
    groups = keys.shape[1]
    asked = query.view(1, len(query), groups, -1, query.shape[2])
    shape = (1, len(keys), groups, asked.shape[3], keys.shape[2])
    return asked, keys[None, :, :, None].expand(shape), values[None, :, :, None].expand(shape)


@dataclass(frozen=True, slots=True)
class _Ragged:
    spans: Spans
    _masks: dict[int | None, Any] = field(default_factory=dict)
    _places: list[Tensor] = field(default_factory=list)

    def begin(self) -> None:
        """The spans do not change."""

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        from xformers.ops import fmha

        if look.window not in self._masks:
            self._masks[look.window] = prompt_mask(self.spans, look.window)
        keys, values = held.key, held.value
        if not self.spans.is_fresh:
            if not self._places:
                self._places.append(torch.cat(self.spans.held))
            keys, values = held.keys[self._places[0]], held.values[self._places[0]]
        asked, keys, values = grouped(query, keys.to(query.dtype), values.to(query.dtype))
        attended: Tensor = fmha.memory_efficient_attention_forward(
            asked, keys, values, attn_bias=self._masks[look.window], scale=look.scale
        )
        return attended.reshape(query.shape)


@dataclass(frozen=True, slots=True)
class _Steady:
    steps: Steps
    _masks: dict[int | None, Any] = field(default_factory=dict)
    _windows: dict[int, WindowBuffers] = field(default_factory=dict)

    def begin(self) -> None:
        for window, buffers in self._windows.items():
            buffers.update(self.steps, window)

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        from xformers.ops.fmha import Inputs, triton_splitk

        if look.window not in self._masks:
            if look.window is None:
                self._masks[None] = step_mask(self.steps)
            else:
                self._masks[look.window], self._windows[look.window] = window_mask(self.steps, look.window)
        asked, keys, values = grouped(query, held.keys, held.values)
        # The operator itself: its dispatcher would take flash attention, which knows no pages.
        inputs = Inputs(asked, keys, values, attn_bias=self._masks[look.window], scale=look.scale)
        attended: Tensor = triton_splitk.FwOp.apply(inputs, needs_gradient=False)[0]
        return attended.reshape(query.shape)
