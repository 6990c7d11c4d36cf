"""Turns: interactive first, round-robin within a class, a bounded queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.api import GenerateRequest, Priority
from model.checkpoint.gguf import GgufFile
from model.errors import EngineBusyError
from model.scheduler import Scheduler
from model.sequence import Sequence
from model.tokenizer import Tokenizer, read_tokenizer


@pytest.fixture
def tokenizer(tiny_path: Path) -> Tokenizer:
    with GgufFile(tiny_path) as file:
        return read_tokenizer(file)


def _sequence(tokenizer: Tokenizer, name: str, priority: Priority = Priority.INTERACTIVE) -> Sequence:
    request = GenerateRequest(prompt="x", priority=priority, request_id=name)
    return Sequence(request, [1], tokenizer=tokenizer, end_ids=frozenset(), max_tokens=1, sink=lambda _: None)


def _turns(scheduler: Scheduler, count: int) -> str:
    names = ""
    for _ in range(count):
        sequence = scheduler.schedule()
        assert sequence is not None
        names += sequence.request.request_id
        scheduler.rotate(sequence)
    return names


def test_a_class_takes_turns(tokenizer: Tokenizer) -> None:
    scheduler = Scheduler(running=4, queue=9)
    for name in "abc":
        scheduler.add(_sequence(tokenizer, name))
    assert _turns(scheduler, 7) == "abcabca"


def test_interactive_overtakes_batch_at_the_next_step(tokenizer: Tokenizer) -> None:
    scheduler = Scheduler(running=4, queue=9)
    scheduler.add(_sequence(tokenizer, "b", Priority.BATCH))
    assert _turns(scheduler, 2) == "bb"
    urgent = _sequence(tokenizer, "i")
    scheduler.add(urgent)
    assert _turns(scheduler, 2) == "ii"
    scheduler.remove(urgent)
    assert _turns(scheduler, 1) == "b"


def test_those_beyond_the_running_wait_their_turn(tokenizer: Tokenizer) -> None:
    scheduler = Scheduler(running=2, queue=9)
    sequences = {name: _sequence(tokenizer, name) for name in "abc"}
    for sequence in sequences.values():
        scheduler.add(sequence)
    assert _turns(scheduler, 4) == "abab"
    scheduler.remove(sequences["a"])
    assert sorted(_turns(scheduler, 2)) == ["b", "c"]


def test_a_full_queue_refuses(tokenizer: Tokenizer) -> None:
    scheduler = Scheduler(running=1, queue=2)
    scheduler.add(_sequence(tokenizer, "a"))
    scheduler.add(_sequence(tokenizer, "b", Priority.BATCH))
    with pytest.raises(EngineBusyError) as caught:
        scheduler.add(_sequence(tokenizer, "c"))
    assert caught.value.hint
    assert len(scheduler) == 2


def test_the_cancelled_are_taken_out(tokenizer: Tokenizer) -> None:
    scheduler = Scheduler(running=4, queue=9)
    kept, gone = _sequence(tokenizer, "a"), _sequence(tokenizer, "b", Priority.BATCH)
    scheduler.add(kept)
    scheduler.add(gone)
    gone.cancelled = True
    assert scheduler.take_cancelled() == [gone]
    assert scheduler.drain() == [kept]
    assert scheduler.schedule() is None
