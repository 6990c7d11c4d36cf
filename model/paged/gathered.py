"""Attention by gathering what a sequence holds and multiplying plainly: the CPU's way, and any device's last resort.

Legend: M new tokens of a sequence, S tokens it holds, B sequences, Q new tokens of each, H query heads, G key/value
heads, R = H / G, E key and V value dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.paged.attention import Attend, Held, Look
from model.paged.pool import PAGE_TOKENS
from model.paged.spans import Spans, Steps

_FEW_ROWS = 12
"""Up to here CPUs multiply in float32, where single rows of bfloat16 take much longer."""


class GatheredAttention:
    """Keys and values are copied together, never repeated for query heads."""

    name = "gathered"

    def ragged(self, spans: Spans) -> Attend:
        return _Ragged(spans)

    def steady(self, steps: Steps) -> Attend:
        return _Steady(steps)


@dataclass(frozen=True, slots=True)
class _Ragged:
    spans: Spans

    def begin(self) -> None:
        """Nothing is kept from step to step."""

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        attended = query.new_empty(*query.shape[:2], held.values.shape[2])
        row = 0
        for count, start, places in zip(self.spans.queries, self.spans.starts, self.spans.held, strict=True):
            first = 0 if look.window is None else max(0, start + 1 - look.window)
            seen = places[first:]
            mine = slice(row, row + count)
            attended[mine] = attend(query[mine], held.keys[seen], held.values[seen], look, start=start - first)
            row += count
        return attended


def attend(query: Tensor, keys: Tensor, values: Tensor, look: Look, *, start: int) -> Tensor:
    """query [M, H, E] at positions start … start + M − 1 over keys [S, G, E] and values [S, G, V]: [M, H, V]."""
    rows, heads, _ = query.shape
    tokens, kv_heads, _ = keys.shape
    dtype = torch.float32 if query.device.type == "cpu" and rows <= _FEW_ROWS else query.dtype
    grouped = query.view(rows, kv_heads, -1, query.shape[2]).permute(1, 2, 0, 3)  # [G, R, M, E]
    grouped = grouped.reshape(kv_heads, -1, query.shape[2]).to(dtype)
    nothing = grouped.new_zeros(())
    scores = torch.baddbmm(nothing, grouped, keys.to(dtype).permute(1, 2, 0), beta=0, alpha=look.scale).float()
    scores = scores.view(kv_heads, -1, rows, tokens)
    first = start if look.window is None else 0  # all see what was before
    positions = torch.arange(start, start + rows, device=query.device)[:, None]
    places = torch.arange(first, tokens, device=query.device)
    scores[..., first:].masked_fill_(_hidden(positions, places, look), float("-inf"))
    shares = _softmax(scores, look.sinks, kv_heads).to(dtype)  # [G, R, M, S]
    attended = torch.bmm(shares.flatten(1, 2), values.to(dtype).transpose(0, 1))  # [G, R · M, V]
    return attended.view(kv_heads, -1, rows, values.shape[2]).permute(2, 0, 1, 3).reshape(rows, heads, -1).to(query)


@dataclass(frozen=True, slots=True)
class _Steady:
    """Reads all places that a sequence may have, and hides those that it has not."""

    steps: Steps

    def begin(self) -> None:
        """Nothing is kept from step to step."""

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        steps = self.steps
        kv_heads, heads = held.keys.shape[1], query.shape[1]
        within = torch.arange(PAGE_TOKENS, device=query.device)
        places = (steps.tables.to(torch.int64)[:, :, None] * PAGE_TOKENS + within).flatten(1)  # [B, S]
        keys, values = held.keys[places].to(query.dtype), held.values[places].to(query.dtype)  # [B, S, G, ·]
        grouped = query.view(steps.sequences, steps.queries, kv_heads, -1, query.shape[2])  # [B, Q, G, R, E]
        scores = torch.einsum("bqgre,bsge->bgrqs", grouped, keys).float() * look.scale
        hidden = _hidden(steps.positions()[:, :, None], torch.arange(places.shape[1], device=query.device), look)
        scores = scores.masked_fill(hidden[:, None, None], float("-inf"))
        shares = _softmax(scores, look.sinks, kv_heads).to(query.dtype)
        attended = torch.einsum("bgrqs,bsgv->bqgrv", shares, values)
        return attended.reshape(-1, heads, values.shape[3])


def _hidden(positions: Tensor, places: Tensor, look: Look) -> Tensor:
    """True where a query at `positions` [..., M, 1] does not see a key at `places` [S]."""
    hidden = places > positions
    return hidden if look.window is None else hidden | (places <= positions - look.window)


def _softmax(scores: Tensor, sinks: Tensor | None, kv_heads: int) -> Tensor:
    """Over the last of [..., G, R, M, S], float32; sinks are one more score, whose share is dropped."""
    if sinks is None:
        return torch.softmax(scores, -1)
    drained = sinks.float().view(kv_heads, -1, 1, 1).expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat((scores, drained), -1), -1)[..., :-1]
