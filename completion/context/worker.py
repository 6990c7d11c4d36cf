"""The indexing process of one root: at low priority, so that neither the editor nor its server feels it.

A process rather than a thread, since parsing holds the interpreter's lock: in a thread it would delay every key.
Commands come as JSON lines on standard input (`{"changed": [paths]}`), reports go as JSON lines to standard output
(`{"state": "indexing", "files": n}`, `{"state": "ready", …}`, `{"notice": text}`). It ends when its input does.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from completion.context.index import Indexer
from completion.context.store import Store
from completion.context.watch import Watcher

_TELL_S = 1.0
_LOCK_RETRY_S = 2.0

Command = frozenset[str] | None
"""Paths that changed; None: look at everything."""


class _End(Exception):
    """Not an error: the server is gone, or does not want us any more."""


class Worker:
    """Indexes one root until its server ends."""

    def __init__(self, root: Path, file: Path, report: Callable[[dict[str, Any]], None]) -> None:
        self._root, self._file = root, file
        self._report = report
        self._commands: queue.Queue[Command | type[_End]] = queue.Queue()
        self._told_s = 0.0

    def listen(self, stream: TextIO) -> None:
        """Read commands from another thread."""
        threading.Thread(target=self._listen, args=(stream,), name="tersely-commands", daemon=True).start()

    def changed(self, paths: Command) -> None:
        """Have some paths looked at. From any thread."""
        self._commands.put(paths)

    def run(self) -> None:
        """Index, then follow changes, until the input ends."""
        with ExitStack() as stack:
            try:
                stack.callback(self._lock().release)
                # Watching begins before the first walk: no change falls between.
                watcher = Watcher(self._root, self.changed, notice=lambda text: self._report({"notice": text}))
                stack.callback(watcher.close)
                store = Store(self._file, writable=True)
                stack.callback(store.close)
                self._follow(Indexer(self._root, store), store)
            except _End:
                return

    def _follow(self, indexer: Indexer, store: Store) -> None:
        self._reconcile(indexer, store)
        while True:
            command = self._commands.get()
            started_s = time.perf_counter()
            files = self._obey(indexer, store, command)
            self._report({"state": "ready", "files": files, "ms": round((time.perf_counter() - started_s) * 1000, 1)})

    def _obey(self, indexer: Indexer, store: Store, command: Command | type[_End]) -> int:
        if isinstance(command, type):
            raise _End
        if command is None:
            self._reconcile(indexer, store)
            return store.count()
        return indexer.refresh(command)

    def _reconcile(self, indexer: Indexer, store: Store) -> None:
        """Walk everything; a file that is saved meanwhile goes first, and a second walk asked for meanwhile is one."""
        again = True
        while again:
            again, number, started_s = False, 0, time.perf_counter()
            for number in indexer.reconcile():
                self._tell(number)
                while not self._commands.empty():
                    command = self._commands.get()
                    if command is None:
                        again = True
                    else:
                        self._obey(indexer, store, command)
            elapsed_ms = round((time.perf_counter() - started_s) * 1000, 1)
            self._report({"state": "ready", "files": number, "ms": elapsed_ms})

    def _tell(self, number: int) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            self._report({"state": "indexing", "files": number})

    def _lock(self) -> FileLock:
        """One writer an index. Who comes second reads what the first writes, and takes over when it ends."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self._file.with_suffix(".lock"))
        while True:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._report({"state": "following"})
                self._pause()
            else:
                return lock

    def _pause(self) -> None:
        until_s = time.monotonic() + _LOCK_RETRY_S
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                if isinstance(self._commands.get(timeout=left_s), type):
                    raise _End
            except queue.Empty:
                return

    def _listen(self, stream: TextIO) -> None:
        for line in stream:
            paths = json.loads(line)["changed"]
            self._commands.put(None if paths is None else frozenset(paths))
        self._commands.put(_End)


def lower_priority() -> None:
    """Let everything else on this machine go first."""
    import psutil

    process = psutil.Process()
    if sys.platform == "win32":
        process.nice(psutil.IDLE_PRIORITY_CLASS)
    else:
        process.nice(19)


def main(arguments: list[str]) -> int:
    """`ROOT INDEX`: run until standard input ends."""
    lower_priority()
    root, file = Path(arguments[0]), Path(arguments[1])

    def report(event: dict[str, Any]) -> None:
        print(json.dumps(event), flush=True)

    worker = Worker(root, file, report)
    worker.listen(sys.stdin)
    try:
        worker.run()
    except BrokenPipeError:
        return 0  # the server is gone
    return 0
