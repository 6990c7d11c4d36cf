"""Decode steps of fixed shapes, captured as CUDA graphs where there is CUDA: a step is then one launch.

A shape is a number of sequences, of new tokens for each, and a kind of sampling. Each is made when it is first wanted,
or beforehand by `warm_up`. Without CUDA, or with `capture` off, the same code runs as it stands.

Legend: B sequences, Q new tokens of each, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.api import SamplingParams
from model.paged.decoder import PagedDecoder
from model.paged.sampling import Kind, Sampling, sample
from model.paged.spans import Steps
from model.paged.states import SCRATCH_SLOT

MOST_SEQUENCES = 8
MOST_QUERIES = 8
_WARM_UPS = 2
_REHEARSED_TOKENS = 2048
"""Attention is chosen by trying it on sequences of this length."""


class Work(NamedTuple):
    """What a sequence brings to a step: new tokens, tokens in all after them, its pages, how it is sampled, and the
    slot of its recurrent states, where it has them."""

    new: Sequence[int]
    length: int
    pages: Sequence[int]
    params: SamplingParams
    seed: int
    slot: int = SCRATCH_SLOT


class Made(NamedTuple):
    """Tokens chosen for each row, [B, Q] on the host, and logits [B, Q, V] where they were computed, until the next
    step."""

    tokens: list[list[int]]
    logits: Tensor


class Stage:
    """All shapes of one decoder. `most_tokens` is the longest sequence, drafts and padding included."""

    def __init__(self, decoder: PagedDecoder, *, most_tokens: int, capture: bool | None = None) -> None:
        self._decoder = decoder
        self._most_tokens = most_tokens
        self._capture = decoder.device.type == "cuda" if capture is None else capture
        self._shapes: dict[tuple[int, int, Kind], _Shape] = {}
        self._memory: Any = None
        """The graphs' memory pool."""

    def run(self, works: Sequence[Work], kind: Kind) -> Made:
        """Up to 8 sequences with up to 8 new tokens each."""
        shape = self._shape(room(len(works)), room(max(len(work.new) for work in works)), kind)
        tokens, logits = shape.run(works)
        return Made(tokens.tolist(), logits)

    def warm_up(self, *, sequences: int = 1) -> None:
        """Make the shapes of up to so many sequences that are sampled greedily, so that no request waits for them."""
        counts = [1 << power for power in range(4)]
        for count in counts:
            for queries in counts:
                if count <= room(sequences):
                    self._shape(count, queries, Kind.GREEDY)

    def _shape(self, sequences: int, queries: int, kind: Kind) -> _Shape:
        key = (sequences, queries, kind)
        if key not in self._shapes:
            made = _Shape(self._decoder, sequences, queries, kind, most_tokens=self._most_tokens)
            if self._capture:
                # Shapes run one at a time, so their graphs may share memory.
                self._memory = made.capture(self._memory)
            self._shapes[key] = made
        return self._shapes[key]


def room(count: int) -> int:
    """The number of a shape that holds so many: 1, 2, 4 or 8."""
    return 1 << (count - 1).bit_length()


class _Shape:
    """Buffers in, a step, buffers out."""

    def __init__(self, decoder: PagedDecoder, sequences: int, queries: int, kind: Kind, *, most_tokens: int) -> None:
        self._decoder, self._kind = decoder, kind
        self._steps = Steps(sequences, queries, most_tokens=most_tokens, device=decoder.device)
        self._sampling = Sampling(sequences, device=decoder.device)
        self._attend = decoder.attention.steady(self._steps)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._made: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> tuple[Tensor, Tensor]:
        new, lengths, pages, _, _, slots = zip(*works, strict=True)
        self._steps.fill(new, lengths, pages, slots)
        if self._kind is not Kind.GREEDY:
            self._sampling.fill([work.params for work in works], [work.seed for work in works])
        if self._graph is None:
            return self._compute()
        self._graph.replay()
        assert self._made is not None
        return self._made

    @torch.inference_mode()
    def capture(self, memory: Any) -> Any:
        """Record the step, in the graphs' common memory; returns that. Kernels compile in the runs before."""
        device = self._decoder.device
        self._steps.rehearse(_REHEARSED_TOKENS)
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._compute()
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=memory):
            self._made = self._compute()
        self._graph = graph
        return memory or graph.pool()

    def _compute(self) -> tuple[Tensor, Tensor]:
        """Tokens [B, Q] and logits [B, Q, V]."""
        steps = self._steps
        hidden = self._decoder.steady(steps, self._attend)
        logits = self._decoder.logits(hidden)
        tokens = sample(logits, self._sampling, steps.positions().flatten(), self._kind)
        shape = (steps.sequences, steps.queries)
        return tokens.view(shape), logits.view(*shape, -1)
