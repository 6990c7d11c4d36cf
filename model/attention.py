"""The seam between the decoder and attention kernels, and its CPU side.

Legend: M new tokens, T tokens in all, H query heads, G key/value heads, R = H / G, E head dimensions.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class AttentionBackend(Protocol):
    """Causal attention of new tokens over a cache that already holds their own keys and values."""

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """query [M, H, E] at positions start … start + M − 1, already divided by √E; keys, values [G, C, E] with
        C ≥ start + M and finite throughout. Returns [M, H · E] float32 or bfloat16."""
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
        if rows == 1:
            scores = torch.bmm(query.view(kv_heads, -1, head_dim), keys[:, :total].transpose(1, 2))  # [G, R, T]
            return torch.bmm(torch.softmax(scores, -1), values[:, :total]).view(1, -1)
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
