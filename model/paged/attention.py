"""The seam between a batched decoder and attention over pages. Backends: gathered (any device), xformers and Triton.

Legend: N new tokens of all sequences, H query heads, G key/value heads, E key and V value dimensions, C places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from model.paged.spans import Spans, Steps


@dataclass(frozen=True, slots=True)
class Look:
    """How a layer looks back: scores are multiplied by `scale`; a token sees `window` tokens with itself, or all;
    `sinks` [H] are scores that take their share and give nothing."""

    scale: float
    window: int | None = None
    sinks: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What a layer holds: the new tokens' `key` [N, G, E] and `value` [N, G, V], and those of all places, `keys` [C, G,
    E] and `values` [C, G, V], the new ones included."""

    key: Tensor
    value: Tensor
    keys: Tensor
    values: Tensor


class Attend(Protocol):
    """One step's attention, used by every layer in turn."""

    def begin(self) -> None:
        """A step begins: its buffers hold what they did not before."""
        ...

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        """query [N, H, E] to [N, H, V] of its type."""
        ...


class PagedAttention(Protocol):
    """A way to compute attention over pages."""

    name: str

    def ragged(self, spans: Spans) -> Attend:
        """For prompts: any number of new tokens a sequence."""
        ...

    def steady(self, steps: Steps) -> Attend:
        """For single tokens: what is returned reads the buffers of `steps` at each call, and asks the host nothing."""
        ...
