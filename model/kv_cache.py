"""What all layers remember of one sequence: keys and values, and recurrent states. Knows no attention and no policy.

Legend: L layers, G key/value heads, C capacity in tokens, T tokens read, M new tokens, E head dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.snapshots import Snapshots, States, StateShape

_LEAST_CAPACITY_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class KvShape:
    """What a token's keys and values take: `layers` × 2 × `kv_heads` × `head_dim` numbers of `dtype`; and `states`, one
    for each recurrent layer, whatever the number of tokens."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype = torch.float32
    states: tuple[StateShape, ...] = ()

    @property
    def bytes_per_token(self) -> int:
        return self.layers * 2 * self.kv_heads * self.head_dim * self.dtype.itemsize


class KvCache:
    """`tokens` are those whose keys and values are held, in order.

    Memory beyond `tokens` is always finite: what was zero or written once. Recurrent states cannot be taken back token
    by token; they are kept at some lengths, and the cache can be cut to those alone (`reach`).
    """

    def __init__(self, shape: KvShape) -> None:
        self.shape = shape
        self.tokens: list[int] = []
        self._snapshots = Snapshots()
        self._store = self._empty(0)
        self.keys: list[Tensor] = []
        """A view for each layer: [G, C, E]."""
        self.values: list[Tensor] = []

    @property
    def capacity_tokens(self) -> int:
        return self._store.shape[3]

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
        """Forget all but the first `tokens`, a number that can be reached."""
        assert self.reach(tokens) == min(tokens, len(self.tokens))
        del self.tokens[tokens:]
        self._snapshots.cut(tokens)

    def copy_prefix(self, source: KvCache, tokens: int) -> None:
        """Become the first `tokens`, a number that can be reached, of another cache."""
        assert source.reach(tokens) == tokens
        self.tokens = []
        self.reserve(tokens)
        self._store[:, :, :, :tokens] = source._store[:, :, :, :tokens]
        self.tokens = source.tokens[:tokens]
        self._snapshots = source._snapshots.copy()
        self._snapshots.cut(tokens)

    def _empty(self, capacity: int) -> Tensor:
        shape = self.shape
        return torch.zeros(shape.layers, 2, shape.kv_heads, capacity, shape.head_dim, dtype=shape.dtype)
