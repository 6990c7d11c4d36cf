"""Which attention is taken: the fastest of those that know the kind and do not fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.paged.attention import Attend, Held, Look
from model.paged.choice import ChosenAttention, knows, pick_attention
from model.paged.gathered import GatheredAttention
from model.paged.spans import Spans, Steps
from model.paged.xformers_attention import XformersAttention

CPU = torch.device("cpu")


class Counting(GatheredAttention):
    """Computes, and counts how often."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name = name
        self.fails = fails
        self.calls = 0
        self.begun = 0

    def ragged(self, spans: Spans) -> Attend:
        return _Counted(self, super().ragged(spans))

    def steady(self, steps: Steps) -> Attend:
        return _Counted(self, super().steady(steps))


class _Counted:
    def __init__(self, counter: Counting, attend: Attend) -> None:
        self._counter, self._attend = counter, attend

    def begin(self) -> None:
        self._counter.begun += 1

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        self._counter.calls += 1
        if self._counter.fails:
            raise NotImplementedError("no such kernel")
        return self._attend(query, held, look)


class _OutOfMemory(Counting):
    def ragged(self, spans: Spans) -> Attend:
        return _Full()


class _Full:
    def begin(self) -> None:
        """Nothing to prepare."""

    def __call__(self, query: Tensor, held: Held, look: Look) -> Tensor:
        raise torch.OutOfMemoryError("no room")


def call(attention: ChosenAttention, *, times: int = 1, look: Look | None = None) -> Tensor:
    steps = Steps(1, 1, most_tokens=64, device=CPU)
    steps.fill([[5]], [3], [[1]])
    steps.begin()
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(128, 1, 8, generator=generator)
    held = Held(keys[66:67], keys[66:67], keys, keys)
    attend = attention.steady(steps)
    for _ in range(times):
        attend.begin()
        found = attend(torch.ones(1, 2, 8), held, look or Look(scale=1.0))
    return found


def by_order(times_ms: list[float]) -> Callable[[Callable[[], Tensor]], float]:
    """A clock that gives these times one after another."""
    left = iter(times_ms)

    def measure(tried: Callable[[], Tensor]) -> float:
        tried()
        return next(left)

    return measure


def test_the_fastest_is_tried_once_and_kept() -> None:
    slow, quick, last = Counting("slow"), Counting("quick"), Counting("last")
    attention = ChosenAttention([slow, quick, last], measure=by_order([2.0, 1.0]))
    call(attention, times=3)
    assert (slow.calls, quick.calls, last.calls) == (1, 4, 0)
    assert (slow.begun, quick.begun) == (0, 2)  # none begins before it is taken
    assert list(attention.chosen.values()) == ["quick"]


def test_one_that_fails_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    broken, last = Counting("broken", fails=True), Counting("last")
    attention = ChosenAttention([broken, last], measure=by_order([9.0]))
    found = call(attention)
    assert torch.equal(found, call(ChosenAttention([Counting("alone")], measure=by_order([1.0]))))
    assert list(attention.chosen.values()) == ["last"]
    assert "broken is left out: no such kernel" in caplog.text


def test_if_nothing_works_the_last_ones_error_shows() -> None:
    with pytest.raises(NotImplementedError, match="no such kernel"):
        call(ChosenAttention([Counting("only", fails=True)], measure=by_order([])))


def test_prompts_are_read_by_the_next_where_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    broken, last = Counting("broken", fails=True), Counting("last")
    attention = ChosenAttention([broken, last], measure=by_order([]))
    keys, spans = torch.randn(128, 1, 8), Spans((2,), (2,), ((1,),), CPU)
    held = Held(keys[64:66], keys[64:66], keys, keys)
    for _ in range(2):
        found = attention.ragged(spans)(torch.ones(2, 2, 8), held, Look(scale=1.0))
        torch.testing.assert_close(found, GatheredAttention().ragged(spans)(torch.ones(2, 2, 8), held, Look(scale=1.0)))
    assert (broken.calls, last.calls) == (1, 2)
    assert "not read by broken: no such kernel" in caplog.text
    attention.ragged(spans)(torch.ones(2, 2, 8), held, Look(scale=1.0, window=1))
    assert broken.calls == 2  # another kind may be another operator's


def test_no_memory_is_not_taken_for_a_missing_operator() -> None:
    spans, keys = Spans((1,), (1,), ((1,),), CPU), torch.zeros(128, 1, 8)
    attention = ChosenAttention([_OutOfMemory("full"), Counting("last")], measure=by_order([]))
    with pytest.raises(torch.OutOfMemoryError):
        attention.ragged(spans)(torch.ones(1, 2, 8), Held(keys[:1], keys[:1], keys, keys), Look(scale=1.0))


def test_every_kind_is_tried_for_itself() -> None:
    first, second = Counting("first"), Counting("second")
    attention = ChosenAttention([first, second, Counting("last")], measure=by_order([1.0, 2.0, 2.0, 1.0]))
    call(attention)
    call(attention, look=Look(scale=1.0, window=2))
    assert sorted(attention.chosen.values()) == ["first", "second"]


def test_xformers_is_not_asked_for_what_it_does_not_know() -> None:
    keys = torch.zeros(128, 1, 64)
    wide = Held(keys, keys, keys, keys)
    half = Held(keys.half(), keys.half(), keys.half(), keys.half())
    assert not knows(XformersAttention(), wide, Look(scale=1.0), steady=True)
    assert knows(XformersAttention(), half, Look(scale=1.0), steady=True)
    assert not knows(XformersAttention(), half, Look(scale=1.0, sinks=torch.zeros(1)), steady=True)
    spans = Spans((1,), (1,), ((1,),), CPU)
    attention = ChosenAttention([XformersAttention(), GatheredAttention()], measure=by_order([]))
    found = attention.ragged(spans)(torch.ones(1, 2, 64), wide, Look(scale=1.0))
    assert found.shape == (1, 2, 64)


def test_a_cpu_gathers() -> None:
    assert isinstance(pick_attention(CPU), GatheredAttention)
