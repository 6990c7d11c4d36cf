"""What recurrent layers share: what they remember of earlier tokens, and the short convolution before their state.

Legend: B batch, T new tokens, C channels, K tokens under the convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from model.config import DeltaConfig, StateSpaceConfig


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

    def read(self) -> tuple[Tensor, Tensor] | None:
        """The convolution's last inputs [B, K − 1, C] and the state [B, …] float32; None before the first token."""
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


def begin(config: StateSpaceConfig | DeltaConfig, inputs: Tensor, memory: Memory | None) -> tuple[Tensor, Tensor]:
    """Earlier inputs of the convolution joined to the new ones [B, T, C], and the state before them."""
    held = None if memory is None else memory.read()
    if held is None:
        batch, _, channels = inputs.shape
        window = inputs.new_zeros(batch, config.kernel - 1, channels)
        state = torch.zeros(batch, *config.state_shape, dtype=torch.float32, device=inputs.device)
    else:
        window, state = held
    return torch.cat((window.to(inputs.dtype), inputs), 1), state


def spans(memory: Memory | None, tokens: int) -> Iterator[tuple[int, int]]:
    """The new tokens, cut where what is remembered is to be kept."""
    start = 0
    for stop in (tokens,) if memory is None else memory.marks:
        yield start, stop
        start = stop
