"""Notices changes outside the editor, and tells of them in few words: a set of paths, or "look at everything".

A branch switch that touches thousands of files is one message. Where the system cannot watch (its limit of watches is
reached, a network folder), says so once and asks for a look at everything from time to time instead.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from completion.context.scanner import IGNORE_FILES, SKIPPED_FOLDERS

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

QUIET_S = 0.3
"""Changes are told once it has been quiet for this long …"""
PATIENCE_S = 3.0
"""… or for this long after the first of them."""
POLL_S = 60.0
MANY = 500
"""More changed files than this are cheaper found by a walk."""
_TELLING = frozenset({"created", "modified", "moved", "deleted"})

Tell = Callable[[frozenset[str] | None], None]
"""Gets changed paths, relative to the root with `/`; None: look at everything."""


class Coalescer:
    """Gathers paths, and tells of them when it has been quiet. Thread-safe; `told` runs on a thread of its own."""

    def __init__(self, tell: Tell, *, quiet_s: float = QUIET_S, patience_s: float = PATIENCE_S) -> None:
        self._tell = tell
        self._quiet_s, self._patience_s = quiet_s, patience_s
        self._paths: set[str] = set()
        self._all = False
        self._first_s = self._last_s = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tersely-changes", daemon=True)
        self._thread.start()

    def add(self, path: str | None) -> None:
        """A path changed; None: nobody knows which."""
        with self._changed:
            now_s = time.monotonic()
            if not self._paths and not self._all:
                self._first_s = now_s
                self._changed.notify()
            self._last_s = now_s
            if path is None or len(self._paths) >= MANY:
                self._all = True
                self._paths.clear()
            elif not self._all:
                self._paths.add(path)

    def close(self) -> None:
        """End, without telling what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._paths and not self._all:
                    self._changed.wait()
                due_s = min(self._last_s + self._quiet_s, self._first_s + self._patience_s) - time.monotonic()
                if self._closed:
                    return
                if due_s > 0:
                    self._changed.wait(due_s)
                    continue
                told = None if self._all else frozenset(self._paths)
                self._paths.clear()
                self._all = False
            self._tell(told)


class Watcher:
    """Watches one root for as long as it is open."""

    def __init__(self, root: Path, tell: Tell, *, notice: Callable[[str], None], poll_s: float = POLL_S) -> None:
        self._root = str(root.resolve())
        self._coalescer = Coalescer(tell)
        self._ended = threading.Event()
        self._observer: BaseObserver | None = None
        try:
            self._observer = self._watch()
        except OSError as error:
            reason = "the system's limit of watches is reached" if error.errno in (24, 28) else str(error)
            advice = " Raise fs.inotify.max_user_watches to change that." if error.errno == 28 else ""
            every = f"Changes outside the editor in {self._root} are looked for every {poll_s:.0f} s"
            notice(f"{every}, since {reason}.{advice}")
            threading.Thread(target=self._poll, args=(poll_s,), name="tersely-poll", daemon=True).start()

    @property
    def polling(self) -> bool:
        """Whether the root is looked through from time to time instead of being watched."""
        return self._observer is None

    def close(self) -> None:
        self._ended.set()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(5)
        self._coalescer.close()

    def _watch(self) -> BaseObserver:
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer

        watcher = self

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type in _TELLING:
                    watcher.noticed(os.fsdecode(event.src_path), folder=event.is_directory, kind=event.event_type)
                    if event.event_type == "moved":
                        watcher.noticed(os.fsdecode(event.dest_path), folder=event.is_directory, kind=event.event_type)

        observer = Observer()
        observer.schedule(Handler(), self._root, recursive=True)
        try:
            observer.start()
        except OSError:
            observer.unschedule_all()
            raise
        return observer

    def noticed(self, full: str, *, folder: bool, kind: str) -> None:
        """Take note of one event of the system."""
        if not full.startswith(self._root):
            return
        path = os.path.relpath(full, self._root).replace(os.sep, "/")
        parts = path.split("/")
        if any(part in SKIPPED_FOLDERS for part in parts):
            return
        if folder:
            if kind != "modified":  # every file made or removed in it tells for itself
                self._coalescer.add(None)
            return
        self._coalescer.add(None if parts[-1] in IGNORE_FILES else path)

    def _poll(self, poll_s: float) -> None:
        while not self._ended.wait(poll_s):
            self._coalescer.add(None)
