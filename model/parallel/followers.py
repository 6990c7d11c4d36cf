"""The other processes of an engine whose model is in parts: started, told what to compute, watched, and ended.

They are no daemons: each ends with its standard input, so none outlives this process, however that ends.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, BinaryIO, cast

from model.errors import EngineUnavailableError
from model.parallel.channel import receive, send
from model.parallel.meeting import leave
from model.parallel.orders import Order, Report, Stop
from model.rooms import environment

_DOOR = Path(__file__).with_name("__main__.py")
_LEAVE_S = 5.0
_NOTICE_S = 3.0
"""A connection breaks a moment before the system tells that its process is gone."""


class Followers:
    """`count` processes, ranks 1 … `count`. All but `stop` and `watch` belongs to the thread that computes."""

    def __init__(self, count: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tersely-parts-")
        self.place = Path(self._folder.name) / "meeting"
        """Where all processes meet: a file that is not there yet."""
        self._stopping = False
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-P", str(_DOOR)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._folder.name,
                env=environment(),
            )
            for _ in range(count)
        ]

    @property
    def count(self) -> int:
        return len(self._processes)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self._processes)

    def tell(self, order: Order) -> None:
        """Have all of them do something. Raises `EngineUnavailableError` where one died."""
        self.tell_each([order] * len(self._processes))

    def tell_each(self, orders: Sequence[Order]) -> None:
        """As `tell`, an order for each."""
        for process, order in zip(self._processes, orders, strict=True):
            try:
                send(_pipe(process.stdin), order)
            except (OSError, ValueError) as error:
                raise self.death(_NOTICE_S) or failure("a process of it is gone") from error

    def expect_reports(self) -> None:
        """Wait for a word of each. Raises `EngineUnavailableError` where one died, or cannot."""
        for process in self._processes:
            try:
                report = receive(_pipe(process.stdout))
            except EOFError as error:
                raise self.death(_NOTICE_S) or failure("a process of it is gone") from error
            assert isinstance(report, Report)
            if report.problem:
                raise EngineUnavailableError(report.problem, hint=report.hint)

    def death(self, within_s: float = _NOTICE_S) -> EngineUnavailableError | None:
        """The error of a process that died, or does so `within_s`; None while all live."""
        for rank, process in enumerate(self._processes, 1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(within_s)
                return self._died(rank, code)
        return None

    def watch(self, lost: Callable[[EngineUnavailableError], None]) -> None:
        """Call `lost` on a thread of its own as soon as a process dies that was not stopped."""

        def wait(rank: int, process: subprocess.Popen[bytes]) -> None:
            code = process.wait()
            if not self._stopping:
                lost(self._died(rank, code))

        for rank, process in enumerate(self._processes, 1):
            threading.Thread(target=wait, args=(rank, process), name=f"tersely-part-{rank}", daemon=True).start()

    def stop(self) -> None:
        """End them, and leave the group that was theirs and ours."""
        self._stopping = True
        for process in self._processes:
            with contextlib.suppress(OSError, ValueError):
                send(_pipe(process.stdin), Stop())
        for process in self._processes:
            try:
                process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(OSError):
                _pipe(process.stdin).close()
            _pipe(process.stdout).close()
        leave(whole=not any(process.returncode for process in self._processes))
        self._folder.cleanup()

    def _died(self, rank: int, code: int) -> EngineUnavailableError:
        return failure(f"its process {rank} of {self.count + 1} died (exit code {code})")


def _pipe(stream: IO[bytes] | None) -> BinaryIO:
    assert stream is not None
    return cast(BinaryIO, stream)


def failure(how: str) -> EngineUnavailableError:
    """The error that ends an engine in parts."""
    return EngineUnavailableError(
        f"The engine ended: {how}.",
        hint="Was memory short? See the engine's log; the next request starts it again.",
    )
