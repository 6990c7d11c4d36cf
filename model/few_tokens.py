"""The decoder for up to FEW_TOKENS tokens at once, where the overhead of small kernels counts. Knows no prompts.

Every token's numbers are the same bits whatever tokens are computed beside it, as far as the projections' kernels keep
to that (the packed ones do): norms and attention run token by token, the rest is element by element. So checking
drafts gives the very text that one token after another would give.

Legend: M new tokens, D hidden, I intermediate, H query heads, G key/value heads, R = H / G, E head dimensions, C the
cache's capacity, B tokens a block of keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.bags import Bags
from model.config import AttentionConfig
from model.kv_cache import KvCache
from model.serving_layer import ServingLayer

FEW_TOKENS = 4
"""The int4 kernel takes four rows at less than twice the cost of one; the fifth costs a second pass (measured)."""


class FewTokens:
    """Scratch memory and views for one number of tokens, made once; computing writes into them.

    `turns` [C, E / 2] complex are the rotations by position (see `model.serving`); `dtype` is what the projections'
    kernels read.
    """

    def __init__(
        self,
        rows: int,
        *,
        hidden: int,
        attention: AttentionConfig,
        epsilon: float,
        turns: Tensor,
        dtype: torch.dtype,
    ) -> None:
        heads, kv_heads, head_dim = attention.heads, attention.kv_heads, attention.head_dim
        self._rows, self._hidden, self._epsilon = rows, hidden, epsilon
        self._all_turns = turns
        self._bags = Bags(attention, rows=rows)
        self._x = torch.empty(rows, hidden)
        self._zeros = torch.zeros(hidden)
        self._normed = torch.empty(rows, hidden)
        self._x_rows, self._normed_rows = self._x.unbind(0), self._normed.unbind(0)
        self._read = torch.empty(rows, hidden, dtype=dtype)
        self._turns = torch.empty(rows, heads + kv_heads, head_dim // 2, dtype=torch.complex64)
        self._turned = torch.empty_like(self._turns)
        turned = torch.view_as_real(self._turned).view(rows, -1, head_dim)  # [M, H + G, E]
        self._queries = turned[:, :heads].view(rows, kv_heads, -1, 1, head_dim)  # [M, G, R, 1, E]
        self._keys = turned[:, heads:]  # [M, G, E]
        self._heads = torch.empty(rows, (heads + 2 * kv_heads) * head_dim)
        split = self._heads.view(rows, -1, head_dim)
        self._pairs = torch.view_as_complex(split[:, : heads + kv_heads].view(rows, heads + kv_heads, -1, 2))
        self._values = split[:, heads + kv_heads :]  # [M, G, E]
        self._attended = torch.empty(rows, heads * head_dim, dtype=dtype)
        self._attended_heads = self._attended.view(-1, head_dim)  # [M · H, E]

    def run(self, embedded: list[Tensor], layers: list[ServingLayer], norm: Tensor, cache: KvCache) -> Tensor:
        """Embeddings [D] of any float type to hidden states, float32 [M, D], after the last norm; the cache must have
        room. Its keys and values are written, its tokens are the caller's to add. The result is scratch."""
        start = len(cache.tokens)
        for row, token in zip(self._x_rows, embedded, strict=True):
            row.copy_(token)
        self._turns.copy_(self._all_turns[start : start + self._rows, None])
        self._bags.open(cache, start)
        news = [(self._keys[new], places) for new, places in cache.key_places(start, self._rows)]
        news.append((self._values, cache.value_places(start, self._rows)))
        for index, layer in enumerate(layers):
            self._heads.copy_(layer.qkv.few(self._read_norm(layer.attention_norm)))
            if layer.qkv_bias is not None:
                self._heads.add_(layer.qkv_bias)
            torch.mul(self._pairs, self._turns, out=self._turned)
            for new, places in news:
                places[index].copy_(new)
            self._attended_heads.copy_(self._bags.attend(self._queries, *cache.tables[index]))
            self._x.add_(layer.out.few(self._attended))
            gate, up = layer.gate_up.few(self._read_norm(layer.mlp_norm)).chunk(2, -1)  # [M, I] each
            self._x.add_(layer.down.few(functional.silu(gate).mul_(up)))
        return self._norm(norm)

    def _read_norm(self, weight: Tensor) -> Tensor:
        """What the projections read."""
        return self._read.copy_(self._norm(weight))

    def _norm(self, weight: Tensor) -> Tensor:
        for row, normed in zip(self._x_rows, self._normed_rows, strict=True):
            scale = (torch.dot(row, row).item() / self._hidden + self._epsilon) ** -0.5
            torch.addcmul(self._zeros, row, weight, value=scale, out=normed)
        return self._normed
