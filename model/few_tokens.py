"""The decoder for up to FEW_TOKENS tokens at once, where the overhead of small kernels counts. Knows no prompts.

Every token's numbers are the same bits whatever tokens are computed beside it, as far as the projections' kernels keep
to that (the packed ones do): norms and attention run token by token, the rest is element by element. So checking
drafts gives the very text that one token after another would give.

Legend: M new tokens, T tokens in all, D hidden, I intermediate, H query heads, G key/value heads, R = H / G, E head
dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.attention import KvReader, KvView
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
        reader: KvReader,
        dtype: torch.dtype,
    ) -> None:
        heads, kv_heads, head_dim = attention.heads, attention.kv_heads, attention.head_dim
        self._rows, self._hidden, self._epsilon = rows, hidden, epsilon
        self._turning = heads + kv_heads
        self._all_turns, self._reader = turns, reader
        self._x = torch.empty(rows, hidden)
        self._zeros = torch.zeros(hidden)
        self._normed = torch.empty(rows, hidden)
        self._x_rows, self._normed_rows = self._x.unbind(0), self._normed.unbind(0)
        self._read = torch.empty(rows, hidden, dtype=dtype)
        # Values do not turn: they are multiplied by one, so that one kernel and one copy serve all heads.
        self._turns = torch.ones(rows, heads + 2 * kv_heads, head_dim // 2, dtype=torch.complex64)
        self._turned = torch.empty_like(self._turns)
        turned = torch.view_as_real(self._turned).view(rows, -1, head_dim)  # [M, H + 2 G, E]
        self._queries = turned[:, :heads].view(rows, kv_heads, -1, head_dim).unbind(0)  # [G, R, E] each
        self._news = turned[:, heads:].view(rows, 2, kv_heads, head_dim)  # [M, 2, G, E]
        self._heads = torch.empty(rows, (heads + 2 * kv_heads) * head_dim)
        self._pairs = torch.view_as_complex(self._heads.view(rows, -1, head_dim // 2, 2))
        self._attended = torch.empty(rows, heads * head_dim)
        self._attended_read = torch.empty(rows, heads * head_dim, dtype=dtype)
        self._attended_rows = self._attended.view(rows, kv_heads, -1, head_dim).unbind(0)  # [G, R, E] each

    def run(self, x: Tensor, layers: list[ServingLayer], cache: KvCache) -> Tensor:
        """Embeddings [M, D] of any float type to hidden states, float32 [M, D], after the last layer; the cache must
        have room. Its keys and values are written, its tokens are the caller's to add. The result is scratch."""
        start = len(cache.tokens)
        self._x.copy_(x)
        self._turns[:, : self._turning] = self._all_turns[start : start + self._rows, None]
        total = start + self._rows
        view = self._reader.view(cache, start, self._rows)
        held = zip(cache.slots(start, self._rows), cache.key_windows(total), cache.value_windows(total), strict=True)
        for layer, (news, keys, values) in zip(layers, held, strict=True):
            self._layer(layer, news, keys, values, view)
        return self._x

    def _layer(self, layer: ServingLayer, news: Tensor, keys: Tensor, values: Tensor, view: KvView) -> None:
        x = self._x
        self._heads.copy_(layer.qkv.few(self._norm(layer.attention_norm)))
        torch.mul(self._pairs, self._turns, out=self._turned)
        news.copy_(self._news)
        shares = [
            torch.softmax(torch.bmm(query, seen), -1)  # [G, R, T]
            for query, seen in zip(self._queries, view.keys(keys), strict=True)
        ]
        for share, seen, attended in zip(shares, view.values(values), self._attended_rows, strict=True):
            torch.bmm(share, seen, out=attended)
        x.add_(layer.out.few(self._attended_read.copy_(self._attended)))
        gate, up = layer.gate_up.few(self._norm(layer.mlp_norm)).chunk(2, -1)  # [M, I] each
        x.add_(layer.down.few(functional.silu(gate).mul_(up)))

    def _norm(self, weight: Tensor) -> Tensor:
        for row, normed in zip(self._x_rows, self._normed_rows, strict=True):
            scale = (torch.dot(row, row).item() / self._hidden + self._epsilon) ** -0.5
            torch.addcmul(self._zeros, row, weight, value=scale, out=normed)
        return self._read.copy_(self._normed)
