"""What recurrent layers share: what they remember of earlier tokens, and the short convolution before their state.

Legend: B batch, T new tokens, C channels, K tokens under the convolution; of a recurrence G key heads, H heads, E key
and V value dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from model.config import DeltaConfig, StateSpaceConfig


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What each token does to its heads' states, float32: they fade, change at a key, and are read by a query. Each of
    the G key heads serves H / G consecutive heads.

    Without `shares` the value is added at the key, and a head's state is [V, E]; with them, what the state gives there
    is moved so far towards the value, and it is [E, V].
    """

    query: Tensor
    """[B, T, G, E]."""
    key: Tensor
    value: Tensor
    """[B, T, H, V]."""
    fades: Tensor
    """[B, T, H], logarithms, not above 0."""
    shares: Tensor | None = None

    def part(self, start: int, stop: int) -> Recurrence:
        """Some of the tokens."""
        query, key, value, fades = (part[:, start:stop] for part in (self.query, self.key, self.value, self.fades))
        return Recurrence(query, key, value, fades, None if self.shares is None else self.shares[:, start:stop])


class Memory(Protocol):
    """What one recurrent layer remembers, handed in and kept at some of the new tokens."""

    @property
    def marks(self) -> tuple[int, ...]:
        """Numbers of new tokens, ascending, after which what is remembered then is to be kept; the last is all."""
        ...

    @property
    def live(self) -> Tensor | None:
        """True for tokens that count [B, T]; None: all do. Those behind the last that counts change no state."""
        ...

    def window(self) -> Tensor | None:
        """The convolution's last inputs [B, K − 1, C]; None before the first token."""
        ...

    def state(self) -> Tensor | None:
        """The state [B, …] float32; None before the first token."""
        ...

    def walk(self, rows: Recurrence, joined: Tensor) -> Tensor | None:
        """Where the state can be changed in place: what each token reads [B, T, H, V], with all kept (`joined` as in
        `keep`). None: it must be read, computed with and kept."""
        ...

    def keep(self, tokens: int, joined: Tensor, state: Tensor) -> None:
        """Remember what there is after so many of the new tokens: the last K − 1 inputs up to there of the convolution,
        all of which, earlier ones first, are `joined` [B, K − 1 + T, C]; and the state. Neither is changed
        afterwards."""
        ...


Parts = tuple[Tensor, ...]
"""What a recurrent layer makes of its input, token by token: [B, T, ·] each."""


class Recurrent(Protocol):
    """A recurrent layer, in three parts: the one in the middle alone looks at other tokens than its own."""

    def project(self, x: Tensor) -> Parts:
        """[B, T, D] to what the others read."""
        ...

    def mix(self, parts: Parts, memory: Memory | None) -> Tensor:
        """What each token reads from the state, [B, T, …]."""
        ...

    def finish(self, mixed: Tensor, parts: Parts) -> Tensor:
        """That to [B, T, D]."""
        ...


class CausalConvolution(nn.Module):
    """Each channel by itself over the last K tokens, then SiLU. `weight` [C, K], the newest token last."""

    def __init__(self, channels: int, kernel: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, kernel))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, joined: Tensor) -> Tensor:
        """[B, K − 1 + T, C], earlier inputs first, to [B, T, C]."""
        kernel = self.weight.shape[1]
        tokens = joined.shape[1] - kernel + 1
        total = joined[:, :tokens] * self.weight[:, 0]
        for place in range(1, kernel):
            total = total + joined[:, place : place + tokens] * self.weight[:, place]
        return nn.functional.silu(total if self.bias is None else total + self.bias)


def join(config: StateSpaceConfig | DeltaConfig, inputs: Tensor, memory: Memory | None) -> Tensor:
    """Earlier inputs of the convolution joined to the new ones [B, T, C]."""
    window = None if memory is None else memory.window()
    if window is None:
        window = inputs.new_zeros(len(inputs), config.kernel - 1, inputs.shape[2])
    return torch.cat((window.to(inputs.dtype), inputs), 1)


def recur(
    config: StateSpaceConfig | DeltaConfig,
    rows: Recurrence,
    joined: Tensor,
    memory: Memory | None,
    scan: Callable[[Recurrence, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """What each token reads, [B, T, H, V]. `scan` gives that of some tokens, and the state [B, …] behind them, from the
    state before; the tokens are cut where what is remembered is to be kept."""
    walked = None if memory is None else memory.walk(rows, joined)
    if walked is not None:
        return walked
    state = None if memory is None else memory.state()
    if state is None:
        state = rows.value.new_zeros(len(rows.value), *config.state_shape)
    found, start = [], 0
    for stop in (rows.value.shape[1],) if memory is None else memory.marks:
        out, state = scan(rows.part(start, stop), state)
        found.append(out)
        if memory is not None:
            memory.keep(stop, joined, state)
        start = stop
    return torch.cat(found, 1)
