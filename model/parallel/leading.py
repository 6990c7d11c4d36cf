"""What the leading process computes over pages, told to the others before: they compute along, each with its part.

Knows no processes: `Tell` is who carries an order to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.decoder import Decoder
from model.kv_cache import KvShape
from model.paged.attention import PagedAttention
from model.paged.decoder import PagedDecoder
from model.paged.pool import PagePool
from model.paged.sampling import Kind
from model.paged.spans import Spans
from model.paged.stage import Made, Stage, Work
from model.paged.states import StatePool
from model.parallel.orders import ClearStates, Copy, CopyStates, Order, Read, Write

Tell = Callable[[Order], None]


class LeadingDecoder(PagedDecoder):
    """A `PagedDecoder` that is not alone."""

    def __init__(self, decoder: Decoder, attention: PagedAttention, tell: Tell) -> None:
        super().__init__(decoder, attention)
        self._tell = tell

    def ragged(self, tokens: list[int], spans: Spans) -> Tensor:
        """As `PagedDecoder.ragged`."""
        self._tell(
            Read(
                tokens=tokens,
                queries=spans.queries,
                lengths=spans.lengths,
                pages=spans.pages,
                states=spans.states,
            )
        )
        return super().ragged(tokens, spans)


class LeadingPool(PagePool):
    """A `PagePool` whose pages hold in each process that one's heads."""

    def __init__(self, shape: KvShape, *, pages: int, device: torch.device, joined: bool, tell: Tell) -> None:
        super().__init__(shape, pages=pages, device=device, joined=joined)
        self._tell = tell

    def copy(self, source: int, target: int, tokens: int) -> None:
        """As `PagePool.copy`."""
        self._tell(Copy(source=source, target=target, tokens=tokens))
        super().copy(source, target, tokens)


class LeadingStates(StatePool):
    """A `StatePool` whose slots hold in each process the states of that one's heads."""

    def __init__(self, shape: KvShape, *, slots: int, device: torch.device, tell: Tell) -> None:
        super().__init__(shape, slots=slots, device=device)
        self._tell = tell

    def clear(self, slot: int) -> None:
        """As `StatePool.clear`."""
        self._tell(ClearStates(slot))
        super().clear(slot)

    def copy(self, source: int, target: int) -> None:
        """As `StatePool.copy`."""
        self._tell(CopyStates(source, target))
        super().copy(source, target)


class LeadingStage(Stage):
    """A `Stage` whose steps are taken in all processes, each in its own captured graph."""

    def __init__(self, decoder: PagedDecoder, *, most_tokens: int, capture: bool, tell: Tell) -> None:
        super().__init__(decoder, most_tokens=most_tokens, capture=capture)
        self._tell = tell

    def run(self, works: Sequence[Work], kind: Kind) -> Made:
        """As `Stage.run`."""
        self._tell(Write(works=works, kind=kind))
        return super().run(works, kind)
