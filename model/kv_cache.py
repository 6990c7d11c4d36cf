"""Keys and values of one sequence, for all layers, growing as it grows. Knows no attention and no policy.

Legend: L layers, G key/value heads, C capacity in tokens, T tokens read, M new tokens, E head dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_CAPACITY_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class KvShape:
    """What a token's keys and values take: `layers` × 2 × `kv_heads` × `head_dim` numbers of `dtype`."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype = torch.float32

    @property
    def bytes_per_token(self) -> int:
        return self.layers * 2 * self.kv_heads * self.head_dim * self.dtype.itemsize


class KvCache:
    """`tokens` are those whose keys and values are held, in order.

    Memory beyond `tokens` is always finite: what was zero or written once.
    """

    def __init__(self, shape: KvShape) -> None:
        self._shape = shape
        self.tokens: list[int] = []
        self._store = self._empty(0)
        self.keys: list[Tensor] = []
        """A view for each layer: [G, C, E]."""
        self.values: list[Tensor] = []

    @property
    def capacity_tokens(self) -> int:
        return self._store.shape[3]

    @property
    def dtype(self) -> torch.dtype:
        return self._shape.dtype

    @property
    def size_bytes(self) -> int:
        return self.capacity_tokens * self._shape.bytes_per_token

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens in all; capacity grows by a quarter or more, so growth is cheap on average."""
        if tokens <= self.capacity_tokens:
            return
        old = self._store
        self._store = self._empty(max(tokens, self.capacity_tokens * 5 // 4, _LEAST_CAPACITY_TOKENS))
        held = len(self.tokens)
        self._store[:, :, :, :held] = old[:, :, :, :held]
        self.keys = [layer[0] for layer in self._store]
        self.values = [layer[1] for layer in self._store]

    def slots(self, start: int, rows: int) -> tuple[Tensor, ...]:
        """Where each layer's new keys and values go: [M, 2, G, E]."""
        return self._store.narrow(3, start, rows).permute(0, 3, 1, 2, 4).unbind(0)

    def key_windows(self, tokens: int) -> tuple[Tensor, ...]:
        """Each layer's first `tokens` keys: [G, T, E]."""
        return self._store[:, 0].narrow(2, 0, tokens).unbind(0)

    def value_windows(self, tokens: int) -> tuple[Tensor, ...]:
        """Each layer's first `tokens` values: [G, T, E]."""
        return self._store[:, 1].narrow(2, 0, tokens).unbind(0)

    def truncate(self, tokens: int) -> None:
        """Forget all but the first `tokens`."""
        del self.tokens[tokens:]

    def copy_prefix(self, source: KvCache, tokens: int) -> None:
        """Become the first `tokens` of another cache."""
        self.tokens = []
        self.reserve(tokens)
        self._store[:, :, :, :tokens] = source._store[:, :, :, :tokens]
        self.tokens = source.tokens[:tokens]

    def _empty(self, capacity: int) -> Tensor:
        shape = self._shape
        return torch.zeros(shape.layers, 2, shape.kv_heads, capacity, shape.head_dim, dtype=shape.dtype)
