"""Which attention computes on a device: on a CPU the gathered one, on a GPU what was fastest when it was tried.

For prompts that is xformers, where it knows the kind. For single tokens each candidate is timed on the shape itself
when that comes up first. One that fails (a kernel that this Triton does not compile, an operator that this GPU has not
got) is left out, and logged.

Legend: N rows, H query heads, E key and V value dimensions.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.paged.attention import Attend, Held, Look, PagedAttention
from model.paged.gathered import GatheredAttention
from model.paged.spans import Spans, Steps
from model.paged.triton_attention import TritonAttention
from model.paged.xformers_attention import XformersAttention

logger = logging.getLogger(__name__)

Measure = Callable[[Callable[[], Tensor]], float]
"""Milliseconds that a call takes."""
_TIMES = 5


def pick_attention(device: torch.device) -> PagedAttention:
    """The attention for a decoder on this device."""
    if device.type != "cuda":
        return GatheredAttention()
    candidates: list[PagedAttention] = []
    if importlib.util.find_spec("xformers") is not None:
        candidates.append(XformersAttention())
    if importlib.util.find_spec("triton") is not None:
        candidates.append(TritonAttention())
    return ChosenAttention([*candidates, GatheredAttention()], measure=measure_on_gpu)


def measure_on_gpu(call: Callable[[], Tensor]) -> float:
    """The mean of a few calls behind one that compiles."""
    call()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    began.record()
    for _ in range(_TIMES):
        call()
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended)) / _TIMES


class ChosenAttention:
    """The best of several, found by trying; the last must compute everything.

    `chosen` says what was taken, by what was asked: sequences, new tokens of each, heads, dimensions, window, sinks.
    """

    name = "chosen"

    def __init__(self, candidates: list[PagedAttention], *, measure: Measure) -> None:
        self._candidates = candidates
        self._measure = measure
        self._failed: set[tuple[object, ...]] = set()
        self.chosen: dict[tuple[object, ...], str] = {}

    def ragged(self, spans: Spans) -> Attend:
        return _FirstThatKnows([(known, known.ragged(spans)) for known in self._candidates], self._failed)

    def steady(self, steps: Steps) -> Attend:
        attends = [(known, known.steady(steps)) for known in self._candidates]
        return _Fastest(attends, steps, self._measure, self.chosen)


def knows(attention: PagedAttention, held: Held, look: Look, *, steady: bool) -> bool:
    """Does it compute this kind at all, in the type it is held in?"""
    if not isinstance(attention, XformersAttention):
        return True
    half = held.keys.dtype in (torch.float16, torch.bfloat16)
    return half and attention.supports(held, look, steady=steady)


@dataclass(frozen=True, slots=True)
class _FirstThatKnows:
    attends: list[tuple[PagedAttention, Attend]]
    failed: set[tuple[object, ...]]
    """Those that failed, and at what: they are not asked again."""

    def begin(self) -> None:
        for _, attend in self.attends:
            attend.begin()

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        for known, attend in self.attends[:-1]:
            kind = (known.name, query.shape[1:], held.keys.shape[1:], query.dtype, look.window)
            if kind in self.failed or not knows(known, held, look, steady=False):
                continue
            try:
                return attend(query, held, look)
            except Exception as error:
                if isinstance(error, torch.OutOfMemoryError):  # says nothing about the operator
                    raise
                logger.warning("prompts are not read by %s: %s", known.name, error)
                self.failed.add(kind)
        return self.attends[-1][1](query, held, look)


@dataclass(frozen=True, slots=True)
class _Fastest:
    attends: list[tuple[PagedAttention, Attend]]
    steps: Steps
    measure: Measure
    chosen: dict[tuple[object, ...], str]
    _taken: dict[tuple[object, ...], Attend] = field(default_factory=dict)

    def begin(self) -> None:
        for attend in {id(attend): attend for attend in self._taken.values()}.values():
            attend.begin()

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        kind = (query.shape[1:], held.keys.shape[1:], held.values.shape[2], look.window, look.sinks is not None)
        if kind not in self._taken:
            self._taken[kind] = self._try(query, held, look, kind)
        return self._taken[kind](query, held, look)

    def _try(self, query: Tensor, held: Held, look: Look, kind: tuple[object, ...]) -> Attend:
        found: list[tuple[float, str, Attend]] = []
        for known, attend in self.attends:
            # Plain gathering reads all the room there is: it is taken where nothing else works.
            if not knows(known, held, look, steady=True) or (found and known is self.attends[-1][0]):
                continue
            try:
                spent_ms = self.measure(lambda attend=attend: attend(query, held, look))  # type: ignore[misc]
            except Exception as error:
                if known is self.attends[-1][0]:
                    raise
                logger.warning("attention by %s is left out: %s", known.name, error)
                continue
            found.append((spent_ms, known.name, attend))
        spent_ms, name, best = min(found, key=lambda entry: entry[0])
        self.chosen[(self.steps.sequences, self.steps.queries, *kind)] = name
        logger.info("attention by %s takes %.4f ms for %s", name, spent_ms, kind)
        return best
