"""The seam between the decoder and attention kernels, and its CPU side.

Legend: M new tokens, T tokens in all, H query heads, G key/value heads, R = H / G, E head dimensions, C the cache's
capacity, B tokens a block of keys.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class AttentionBackend(Protocol):
    """Causal attention of new tokens over a cache that already holds their own keys and values."""

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """query [M, H, E] at positions start … start + M − 1, already divided by √E; keys [G, C / B, E, B] and values
        [G, C, E] of any float type with C ≥ start + M, finite throughout. Returns [M, H · E] float32 or bfloat16."""
        ...


class CpuAttention:
    """Batched matrix products with one group of query heads a key/value head: keys and values are never repeated.

    Few tokens: float32. Many tokens: `dtype`; bfloat16 products are three times as fast, but each new shape costs a
    compilation in oneDNN. Whole blocks are computed, and what lies beyond the last token is masked.
    """

    def __init__(self, dtype: torch.dtype, *, few_rows: int) -> None:
        self._dtype = dtype
        self._few_rows = few_rows
        self._mask = torch.empty(0, 0)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        rows, heads, head_dim = query.shape
        kv_heads, _, _, block_tokens = keys.shape
        blocks = -(-(start + rows) // block_tokens)
        total = blocks * block_tokens
        dtype = torch.float32 if rows <= self._few_rows else self._dtype
        grouped = query.view(rows, kv_heads, -1, head_dim).permute(1, 2, 0, 3)  # [G, R, M, E]
        grouped = grouped.reshape(kv_heads, -1, head_dim).to(dtype)
        joined = torch.empty(kv_heads, head_dim, blocks, block_tokens, dtype=dtype)
        joined.copy_(keys[:, :blocks].transpose(1, 2))
        scores = torch.bmm(grouped, joined.view(kv_heads, head_dim, total))  # [G, R · M, T]
        scores.view(kv_heads, -1, rows, total)[..., start:] += self._causal(rows, total - start, dtype)
        attended = torch.bmm(torch.softmax(scores, -1), values[:, :total].to(dtype))  # [G, R · M, E]
        return attended.view(kv_heads, -1, rows, head_dim).permute(2, 0, 1, 3).reshape(rows, heads * head_dim)

    def _causal(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """[rows, columns]: 0 where column ≤ row, −∞ elsewhere."""
        if self._mask.shape[0] < rows or self._mask.shape[1] < columns or self._mask.dtype != dtype:
            side = max(rows, columns, *self._mask.shape)
            self._mask = torch.full((side, side), float("-inf"), dtype=dtype).triu_(1)
        return self._mask[:rows, :columns]
