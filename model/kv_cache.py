"""What all layers remember of one sequence on a CPU: keys and values, index keys, recurrent states. Knows no attention
and no policy.

Legend: L layers, G key/value heads, C capacity in tokens, B tokens a block of keys, M new tokens, E head dimensions,
I index dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_CAPACITY_TOKENS = 256

State = tuple[Tensor, Tensor]
"""Of one recurrent layer: the convolution's last inputs [1, K − 1, C], and the state [1, …] float32."""


@dataclass(frozen=True, slots=True)
class StateShape:
    """One recurrent layer's: `window` [K − 1, C], in the type that is computed in, and `state`, float32."""

    window: tuple[int, ...]
    state: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KvShape:
    """What a token's keys and values take: `layers` × 2 × `kv_heads` × `head_dim` numbers of `dtype`; its index keys,
    `index_layers` × `index_dim`; and `states`, one for each recurrent layer, whatever the number of tokens. Of so many
    tokens as a block has, keys lie transposed."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype = torch.float32
    block_tokens: int = 1
    index_layers: int = 0
    index_dim: int = 0
    states: tuple[StateShape, ...] = ()

    @property
    def bytes_per_token(self) -> int:
        numbers = self.layers * 2 * self.kv_heads * self.head_dim + self.index_layers * self.index_dim
        return numbers * self.dtype.itemsize


class KvCache:
    """`tokens` are those whose keys and values are held, in order.

    Memory beyond `tokens` is always finite: what was zero or written once. `states` are those of recurrent layers
    behind the last token, none before the first; they cannot be taken back, so a cache that has them is not cut, nor
    copied.
    """

    def __init__(self, shape: KvShape) -> None:
        self.shape = shape
        self.tokens: list[int] = []
        self.states: list[State] = []
        self._keys, self._values, self._index = self._empty(0)
        self.keys: list[Tensor] = []
        """A view for each layer: [G, C / B, E, B]."""
        self.values: list[Tensor] = []
        """A view for each layer: [G, C, E]."""
        self.index_keys: list[Tensor] = []
        """A view for each layer that chooses: [C, I]."""
        self.tables: list[tuple[Tensor, Tensor]] = []
        """Each layer's keys and values as rows: [G · C / B · E, B] and [G · C, E]."""

    @property
    def capacity_tokens(self) -> int:
        return self._values.shape[2]

    @property
    def dtype(self) -> torch.dtype:
        return self.shape.dtype

    @property
    def size_bytes(self) -> int:
        return self.capacity_tokens * self.shape.bytes_per_token

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens in all; capacity grows by a quarter or more, so growth is cheap on average."""
        if tokens <= self.capacity_tokens:
            return
        held = self._keys, self._values, self._index
        capacity = max(tokens, self.capacity_tokens * 5 // 4, _LEAST_CAPACITY_TOKENS)
        self._keys, self._values, self._index = self._empty(capacity)
        self._take(*held, len(self.tokens))
        self.keys, self.values, self.index_keys = list(self._keys), list(self._values), list(self._index)
        self.tables = list(zip(self._keys.flatten(1, 3), self._values.flatten(1, 2), strict=True))

    def key_places(self, start: int, rows: int) -> list[tuple[slice, tuple[Tensor, ...]]]:
        """Where the keys of new tokens go, block by block: which of them [M′], and each layer's place [M′, G, E]."""
        places, done = [], 0
        while done < rows:
            block, first = divmod(start + done, self.shape.block_tokens)
            count = min(rows - done, self.shape.block_tokens - first)
            held = self._keys[:, :, block].narrow(3, first, count)  # [L, G, E, M′]
            places.append((slice(done, done + count), held.permute(0, 3, 1, 2).unbind(0)))
            done += count
        return places

    def value_places(self, start: int, rows: int) -> tuple[Tensor, ...]:
        """Where each layer's new values go: [M, G, E]."""
        return self._values.narrow(2, start, rows).transpose(1, 2).unbind(0)

    def truncate(self, tokens: int) -> None:
        """Forget all but the first `tokens`."""
        assert not self.states or tokens >= len(self.tokens)
        del self.tokens[tokens:]

    def copy_prefix(self, source: KvCache, tokens: int) -> None:
        """Become the first `tokens` of another cache."""
        assert not source.states
        self.tokens = []
        self.reserve(tokens)
        self._take(source._keys, source._values, source._index, tokens)
        self.tokens = source.tokens[:tokens]

    def _take(self, keys: Tensor, values: Tensor, index: Tensor, tokens: int) -> None:
        """Copy the first `tokens`, by whole blocks."""
        blocks = -(-tokens // self.shape.block_tokens)
        self._keys[:, :, :blocks] = keys[:, :, :blocks]
        self._values[:, :, :tokens] = values[:, :, :tokens]
        self._index[:, :tokens] = index[:, :tokens]

    def _empty(self, capacity: int) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.shape
        blocks = -(-capacity // shape.block_tokens)
        keys = (shape.layers, shape.kv_heads, blocks, shape.head_dim, shape.block_tokens)
        values = (shape.layers, shape.kv_heads, blocks * shape.block_tokens, shape.head_dim)
        index = (shape.index_layers, blocks * shape.block_tokens, shape.index_dim)
        return (
            torch.zeros(keys, dtype=shape.dtype),
            torch.zeros(values, dtype=shape.dtype),
            torch.zeros(index, dtype=shape.dtype),
        )
