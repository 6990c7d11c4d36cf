"""Attention of a few tokens as embedding bags: sums of a table's rows, each times a weight of its own.

A row of scores is a sum of the rows of transposed keys, each times one number of the query; what is attended is a sum
of values, each times its share. The kernel of `torch.embedding_bag` computes just that over half precision as well,
widening what it reads in registers: twice as fast as matrix products with so few rows (measured), which want a copy in
float32. Each sum's bits are its own, whatever else is computed beside it.

Legend: M new tokens, T tokens in all, H query heads, G key/value heads, R = H / G, E head dimensions, C the cache's
capacity, B tokens a block of keys, N blocks read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.config import AttentionConfig
from model.kv_cache import KvCache

BLOCK_TOKENS = 128
"""Tokens whose keys lie transposed together: long runs to add up, and little computed beyond the last token."""
_SUM = 0


class Bags:
    """Attention for `rows` tokens at a time. Which rows of the tables each sum takes is laid out anew only where the
    number of blocks changes."""

    def __init__(self, config: AttentionConfig, *, rows: int) -> None:
        self._shape = rows, config.kv_heads, config.heads // config.kv_heads
        self._head_dim = config.head_dim
        self._laid_out: tuple[int, int, torch.dtype] | None = None

    def open(self, cache: KvCache, start: int) -> None:
        """What follows is about tokens after `start` others in this cache."""
        blocks = -(-(start + self._shape[0]) // BLOCK_TOKENS)
        layout = blocks, cache.capacity_tokens, cache.dtype
        if layout != self._laid_out:
            self._lay_out(*layout)
            self._laid_out = layout
        self._mask.fill_(float("-inf"))
        for end, mask in enumerate(self._masks, start + 1):
            mask[:end] = 0

    def _lay_out(self, blocks: int, capacity_tokens: int, dtype: torch.dtype) -> None:
        rows, kv_heads, share = self._shape
        total = blocks * BLOCK_TOKENS
        self._query = torch.empty(rows, kv_heads, share, blocks, self._head_dim, dtype=dtype)
        self._key_weights = self._query.view(-1)
        keys = torch.arange(kv_heads * (capacity_tokens // BLOCK_TOKENS) * self._head_dim)
        keys = keys.view(kv_heads, 1, -1, self._head_dim)[:, :, :blocks]  # [G, 1, N, E]
        self._key_rows = keys.expand(self._query.shape).flatten()
        self._key_bags = torch.arange(0, len(self._key_rows), self._head_dim)
        values = torch.arange(kv_heads * capacity_tokens).view(kv_heads, 1, -1)[..., :total]  # [G, 1, N · B]
        self._value_rows = values.expand(*self._shape, total).flatten()
        self._value_bags = torch.arange(0, len(self._value_rows), total)
        self._scores_shape = rows, kv_heads * share, total
        self._mask = torch.empty(rows, 1, total, dtype=dtype)
        self._masks = self._mask[:, 0].unbind(0)

    def attend(self, query: Tensor, key_table: Tensor, value_table: Tensor) -> Tensor:
        """query [M, G, R, 1, E], already divided by √E; a layer's `KvCache.tables`, finite throughout, with the new
        tokens in them. Returns [M · H, E] of their type."""
        self._query.copy_(query)
        scores = _sums(key_table, self._key_rows, self._key_bags, self._key_weights)  # [M · H · N, B]
        scores = scores.view(self._scores_shape).add_(self._mask)
        return _sums(value_table, self._value_rows, self._value_bags, torch.softmax(scores, -1).view(-1))


def _sums(table: Tensor, rows: Tensor, bags: Tensor, weights: Tensor) -> Tensor:
    """The sum of each bag's rows, times their weights."""
    return torch.embedding_bag(table, rows, bags, False, _SUM, False, weights)[0]
