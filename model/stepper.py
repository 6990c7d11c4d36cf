"""The thread that steps the model: `schedule → run → postprocess`. No event loop, no prompts, no HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import torch

from model.device import settle_on
from model.errors import EngineError, EngineUnavailableError, RequestError
from model.parallel.followers import Followers, failure
from model.runners import Runs
from model.sampler import Choice
from model.scheduler import Scheduler
from model.sequence import Sequence
from model.threads import ThreadPace

logger = logging.getLogger(__name__)


class Stepper:
    """Runs what is added, step by step in a thread of its own, until it is closed or loses a follower.

    `running` sequences of a class take turns, and `queue` wait. `threads` is for kernels; `pace` None: always so many.
    `device` is where the runner computes.
    `lost` is told, on a thread, when one of the `followers` dies.
    """

    def __init__(
        self,
        runner: Runs,
        *,
        running: int,
        queue: int,
        device: torch.device,
        threads: int,
        pace: ThreadPace | None,
        followers: Followers | None,
        lost: Callable[[EngineError], None] | None,
    ) -> None:
        self._runner = runner
        self._scheduler = Scheduler(running=running, queue=queue)
        self._device = device
        self._threads = threads
        self._pace = pace
        self._wake = threading.Condition()
        self._closing = False
        self._followers = followers
        self._lost: EngineError | None = None
        self._on_lost = lost
        if followers is not None:
            followers.watch(self._lose)
        self._worker = threading.Thread(target=self._work, name="tersely-engine", daemon=True)
        self._worker.start()

    def add(self, sequence: Sequence) -> None:
        """Take a sequence in, from any thread. Raises `EngineBusyError` where too many wait, and
        `EngineUnavailableError` once this is closed."""
        with self._wake:
            if self._lost is not None:
                raise EngineUnavailableError(self._lost.message, hint=self._lost.hint)
            if self._closing:
                raise EngineUnavailableError("The engine is closed.", hint="Start it again.")
            self._scheduler.add(sequence)
            self._wake.notify()

    def close(self) -> None:
        """Stop the thread; requests under way fail with `EngineUnavailableError`. Blocks for a step."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._lost is None:  # else it may wait for who is gone
            self._worker.join()

    def _work(self) -> None:
        torch.set_num_threads(self._threads)  # counts for the thread that calls it
        settle_on(self._device)  # so does this
        while self._wait():
            self._step()
        for sequence in self._scheduler.drain():
            sequence.fail(EngineUnavailableError("The engine was closed.", hint="Start it again."))

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when the engine closes."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or len(self._scheduler) > 0)
            return not self._closing

    def _step(self) -> None:
        for gone in self._scheduler.take_cancelled():
            gone.abort()
            self._runner.release(gone)
        turns = self._scheduler.turns()
        if not turns:
            return
        picked = turns[:1]  # whose fault it is while nothing is picked
        try:
            picked = self._runner.pick(turns)
            began_s = time.perf_counter()
            outcomes = self._runner.step(picked)
            if (
                self._pace is not None
                and picked[0].generated
                and self._pace.record((time.perf_counter() - began_s) * 1e3)
            ):
                torch.set_num_threads(self._pace.threads)
                logger.info("computing with %d threads from here on", self._pace.threads)
            for sequence, outcome in zip(picked, outcomes, strict=True):
                self._postprocess(sequence, outcome)
        except RequestError as error:
            self._fail(picked, error)
        except Exception as error:
            logger.exception("a step failed")
            if self._followers is not None:  # the others are left in the middle of a step: nothing can go on
                self._lose(self._followers.death() or failure(f"a step failed ({error})"))
                return
            hint = "Try again; the engine's log has more."
            self._fail(picked, EngineUnavailableError(f"The engine failed: {error}", hint=hint))

    def _lose(self, error: EngineError) -> None:
        """A process with a part of the model is gone: end all requests, and take none any more. From any thread."""
        with self._wake:
            if self._closing:
                return
            self._lost, self._closing = error, True
            self._wake.notify()
        logger.error("%s", error)
        for sequence in self._scheduler.drain():
            sequence.fail(error)
        if self._on_lost is not None:
            self._on_lost(error)

    def _fail(self, sequences: list[Sequence], error: EngineError) -> None:
        """End those of them that have not ended yet."""
        for sequence in sequences:
            if sequence.finish_reason is None:
                sequence.fail(error)
                self._forget(sequence)

    def _postprocess(self, sequence: Sequence, outcome: list[Choice] | RequestError) -> None:
        if isinstance(outcome, RequestError):  # a grammar that could not be followed to its end
            self._fail([sequence], outcome)
            return
        if outcome:
            sequence.accept(outcome)
        if sequence.finish_reason is None:
            self._scheduler.rotate(sequence)
        else:
            self._forget(sequence)

    def _forget(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        self._runner.release(sequence)
