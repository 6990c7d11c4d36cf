"""The seam between the decoder and attention kernels, and its CPU side.

Legend: M new tokens, T tokens in all, H query heads, G key/value heads, R = H / G, E head dimensions.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from model.kv_cache import KvCache


class AttentionBackend(Protocol):
    """Causal attention of new tokens over a cache that already holds their own keys and values."""

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """query [M, H, E] at positions start … start + M − 1, already divided by √E; keys, values [G, C, E] of any
        float type with C ≥ start + M, finite throughout. Returns [M, H · E] float32 or bfloat16."""
        ...


class CpuAttention:
    """Batched matrix products with one group of query heads a key/value head: keys and values are never repeated.

    Few tokens: float32, where every length runs at once. Many tokens: `dtype`; bfloat16 products are three times as
    fast, but each new shape costs a compilation in oneDNN, so lengths are rounded up and the rest masked.
    """

    def __init__(self, dtype: torch.dtype, *, few_rows: int) -> None:
        self._dtype = dtype
        self._few_rows = few_rows
        self._mask = torch.empty(0, 0)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        rows, heads, head_dim = query.shape
        kv_heads = keys.shape[0]
        total = start + rows
        dtype = torch.float32 if rows <= self._few_rows else self._dtype
        if dtype is not torch.float32:
            total = min(-(-total // 64) * 64, keys.shape[1])
        grouped = query.view(rows, kv_heads, -1, head_dim).permute(1, 2, 0, 3)  # [G, R, M, E]
        grouped = grouped.reshape(kv_heads, -1, head_dim).to(dtype)
        scores = torch.bmm(grouped, keys[:, :total].to(dtype).transpose(1, 2))  # [G, R · M, T]
        scores.view(kv_heads, -1, rows, total)[..., start:] += self._causal(rows, total - start, dtype)
        attended = torch.bmm(torch.softmax(scores, -1), values[:, :total].to(dtype))  # [G, R · M, E]
        return attended.view(kv_heads, -1, rows, head_dim).permute(2, 0, 1, 3).reshape(rows, heads * head_dim)

    def _causal(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """[rows, columns]: 0 where column ≤ row, −∞ elsewhere."""
        if self._mask.shape[0] < rows or self._mask.shape[1] < columns or self._mask.dtype != dtype:
            side = max(rows, columns, *self._mask.shape)
            self._mask = torch.full((side, side), float("-inf"), dtype=dtype).triu_(1)
        return self._mask[:rows, :columns]


class KvReader:
    """Gives single tokens their view of a cache, in float32.

    A cache in half precision is widened, one layer's keys or values at a time, into one small buffer that stays in the
    core's own cache: reading half the bytes from memory saves more than the copy costs.
    """

    def __init__(self) -> None:
        self._buffer = torch.empty(0)

    def view(self, cache: KvCache, start: int, rows: int) -> KvView:
        """How `rows` new tokens read windows of `start + rows` tokens."""
        ends = range(start + 1, start + rows + 1)
        if cache.dtype is torch.float32:
            return KvView(ends, None)
        return KvView(ends, self._wide(cache.key_windows(start + rows)[0].shape))

    def _wide(self, shape: torch.Size) -> Tensor:
        if self._buffer.numel() < shape.numel():
            self._buffer = torch.empty(2 * shape.numel())
        return self._buffer[: shape.numel()].view(shape)


class KvView:
    """What each of a few new tokens sees of a layer's keys or values [G, T, E]: those up to itself, in float32.

    What one call returns is valid until the next, of whichever kind.
    """

    def __init__(self, ends: range, wide: Tensor | None) -> None:
        self._ends = ends
        self._wide = wide
        if wide is not None:
            self._values = [wide[:, :end] for end in ends]
            self._keys = [seen.transpose(1, 2) for seen in self._values]

    def keys(self, window: Tensor) -> list[Tensor]:
        """[G, E, T′] for each token."""
        if self._wide is None:
            return [window[:, :end].transpose(1, 2) for end in self._ends]
        self._wide.copy_(window)
        return self._keys

    def values(self, window: Tensor) -> list[Tensor]:
        """[G, T′, E] for each token."""
        if self._wide is None:
            return [window[:, :end] for end in self._ends]
        self._wide.copy_(window)
        return self._values
