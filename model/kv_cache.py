"""What all layers remember of one sequence: keys and values, index keys, recurrent states. Knows no attention and no
policy.

Legend: L layers, G key/value heads, C capacity in tokens, B tokens a block of keys, M new tokens, E head dimensions,
I index dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.snapshots import Snapshots, States, StateShape

_LEAST_CAPACITY_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class KvShape:
    """What a token's keys and values take: `layers` × 2 × `kv_heads` × `head_dim` numbers of `dtype`; its index keys,
    `index_layers` × `index_dim`; and `states`, one for each recurrent layer, whatever the number of tokens. Of so many
    tokens as a block has, keys lie transposed. All lies on `device` but states, which lie where they were computed."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype = torch.float32
    block_tokens: int = 1
    index_layers: int = 0
    index_dim: int = 0
    states: tuple[StateShape, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def bytes_per_token(self) -> int:
        numbers = self.layers * 2 * self.kv_heads * self.head_dim + self.index_layers * self.index_dim
        return numbers * self.dtype.itemsize


class KvCache:
    """`tokens` are those whose keys and values are held, in order.

    Memory beyond `tokens` is always finite: what was zero or written once. Recurrent states cannot be taken back token
    by token; they are kept at some lengths, and the cache can be cut to those alone (`reach`).
    """

    def __init__(self, shape: KvShape) -> None:
        self.shape = shape
        self.tokens: list[int] = []
        self._snapshots = Snapshots()
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
        return self.capacity_tokens * self.shape.bytes_per_token + len(self._snapshots) * self._state_bytes

    @property
    def _state_bytes(self) -> int:
        return sum(state.size_bytes for state in self.shape.states)

    @property
    def states(self) -> States | None:
        """The recurrent layers' states behind the last token; None before the first."""
        return self._snapshots.at(len(self.tokens)) if self.tokens else None

    def remember(self, tokens: int, states: States, *, lasting: bool) -> None:
        """Keep the states behind the first `tokens`: to come back to, or only until the next are kept."""
        self._snapshots.keep(tokens, states, lasting=lasting)

    def reach(self, tokens: int) -> int:
        """The longest prefix of at most so many tokens that the cache can be cut to."""
        tokens = min(tokens, len(self.tokens))
        return self._snapshots.reach(tokens) if self.shape.states else tokens

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
        """Forget all but the first `tokens`, a number that can be reached."""
        assert self.reach(tokens) == min(tokens, len(self.tokens))
        del self.tokens[tokens:]
        self._snapshots.cut(tokens)

    def copy_prefix(self, source: KvCache, tokens: int) -> None:
        """Become the first `tokens`, a number that can be reached, of another cache."""
        assert source.reach(tokens) == tokens
        self.tokens = []
        self.reserve(tokens)
        self._take(source._keys, source._values, source._index, tokens)
        self.tokens = source.tokens[:tokens]
        self._snapshots = source._snapshots.copy()
        self._snapshots.cut(tokens)

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
            torch.zeros(keys, dtype=shape.dtype, device=shape.device),
            torch.zeros(values, dtype=shape.dtype, device=shape.device),
            torch.zeros(index, dtype=shape.dtype, device=shape.device),
        )
