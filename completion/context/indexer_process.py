"""The server's side of an indexing process: starts it, tells it of saves, hears how far it is."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from model.paths import cache_dir

_DOOR = Path(__file__).with_name("__main__.py")

Notice = Callable[[str], None]


class IndexerProcess:
    """One root's indexing process. It ends by itself when this process does."""

    def __init__(self, root: Path, file: Path, *, notice: Notice) -> None:
        """Start it. Raises `OSError` where no process can be started. `notice` is called on a thread."""
        self.ready = threading.Event()
        """Set once the whole root has been looked at."""
        self._notice = notice
        folder = cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_DOOR), str(root), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        self._reader = threading.Thread(target=self._read, name="tersely-index", daemon=True)
        self._reader.start()

    def changed(self, paths: Sequence[str] | None) -> None:
        """Have these files and folders looked at now; None: everything."""
        stream = self._process.stdin
        assert stream is not None
        with contextlib.suppress(OSError, ValueError):  # it is gone, and the index as old as it is
            stream.write(json.dumps({"changed": None if paths is None else list(paths)}) + "\n")
            stream.flush()

    def close(self) -> None:
        """End the process, in the middle of its work if need be."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                event = json.loads(line)
                if event.get("state") in ("ready", "following"):
                    self.ready.set()
                if "notice" in event:
                    self._notice(event["notice"])
        self.ready.set()
