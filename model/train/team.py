"""Processes that train one model together, each with a share of every batch. Knows nothing of models or losses.

On a CPU one thread a process is fastest, so several cores are used by several processes. They meet over gloo, on the
loopback interface alone; the first of them leads: it decides, writes files and logs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from model.errors import TerselyError, TrainingError
from model.parallel.meeting import leave, meet
from model.train.examples import Example
from model.train.feeder import Source

T = TypeVar("T")
_PATIENCE = timedelta(minutes=20)
"""How long one waits for the others: longer than a validation takes, which the leader does alone."""
_LEAVE_S = 20.0
_BLOCK = 16
"""Examples that a member makes at a time."""


@dataclass(frozen=True, slots=True)
class Team:
    """What one member knows of the team. All members must call the same methods in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this member decides, writes and logs."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put the members' sum in each float32 tensor's place. Every member gets the same bits."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def agree(self, value: int) -> int:
        """The leader's value."""
        if self.size == 1:
            return value
        said = torch.tensor([value])
        torch.distributed.broadcast(said, src=0)
        return int(said)

    def gather(self, mine: list[T]) -> list[list[T]]:
        """What each member gave, by rank."""
        if self.size == 1:
            return [mine]
        given: list[list[T] | None] = [None] * self.size
        torch.distributed.all_gather_object(given, mine)
        return [one for one in given if one is not None]

    def share(self, examples: Sequence[Example]) -> list[Example]:
        """This member's examples of a batch, such that all have about as many tokens: longest first, to the least
        laden."""
        loads, own = [0] * self.size, []
        for number in sorted(range(len(examples)), key=lambda number: -len(examples[number].tokens)):
            to = loads.index(min(loads))
            loads[to] += len(examples[number].tokens)
            if to == self.rank:
                own.append(number)
        return [examples[number] for number in sorted(own)]


class TeamSource:
    """A `Source` that all members read in the same order: each makes a part of the examples, and all get all."""

    def __init__(self, source: Source, team: Team) -> None:
        self._source, self._team = source, team
        self._first = 0
        self._ready: list[Example] = []

    def make(self, index: int) -> Example:
        """Example number `index`."""
        if not self._first <= index < self._first + len(self._ready):
            size = self._team.size
            mine = [self._source.make(index + self._team.rank + size * number) for number in range(_BLOCK)]
            parts = self._team.gather(mine)
            self._first, self._ready = index, [example for row in zip(*parts, strict=True) for example in row]
        return self._ready[index - self._first]


def together(work: Callable[[Team], T], *, size: int) -> T:
    """Run `work` in `size` processes, and return what it returned in this one, the leader. `work` must be picklable.

    Raises what `work` raises here, and `TrainingError` when another process died.
    """
    if size == 1:
        return work(Team())
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="tersely-team-") as folder:
        meeting = Path(folder) / "store"
        others: list[BaseProcess] = [
            context.Process(target=_follow, args=(work, Team(rank, size), meeting), daemon=True)
            for rank in range(1, size)
        ]
        for process in others:
            process.start()
        try:
            done = _join(work, Team(0, size), meeting)
            for process in others:
                process.join(_LEAVE_S)
            return done
        except RuntimeError as error:  # what gloo raises when a connection breaks
            raise _explained(error, others) from error
        finally:
            for process in others:
                process.terminate()


def _explained(error: RuntimeError, others: list[BaseProcess]) -> Exception:
    """The death of another member, where one died; else the error itself."""
    for process in others:
        process.join(1)
        if process.exitcode:
            return TrainingError(
                f"A training process died (exit code {process.exitcode}).",
                hint="Was it out of memory? Try fewer --processes; the same command goes on from the last checkpoint.",
            )
    return error


def _follow(work: Callable[[Team], object], team: Team, meeting: Path) -> None:
    """Another process than the leader: its errors are a line, since what is wrong for all the leader raises."""
    try:
        _join(work, team, meeting)
    except (TerselyError, RuntimeError) as error:
        sys.exit(f"process {team.rank}: {error}")


def _join(work: Callable[[Team], T], team: Team, meeting: Path) -> T:
    meet(meeting, rank=team.rank, processes=team.size, patience=_PATIENCE)
    try:
        return work(team)
    finally:
        leave()
