"""The local acceptance log: what became of suggestions, without a word of what they said.

JSON lines in the user's state folder: ids, lengths, language, timings and outcome. No code, no paths, and nothing is
ever sent anywhere. Several editors may write at once: each line is one append, and turning over is locked.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from model.paths import state_dir

logger = logging.getLogger(__name__)

_LARGEST_BYTES = 1_000_000
_KEPT_FILES = 3


class Outcome(StrEnum):
    """What happened to a suggestion. A suggestion that was shown and has no other record was passed over."""

    SHOWN = "shown"
    PARTIAL = "partial"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceRecord:
    """One line of the log. Lengths are in UTF-16 units, as editors count them; `accepted_length` is cumulative."""

    outcome: Outcome
    suggestion_id: str
    language_id: str
    model: str
    length: int
    lines: int
    accepted_length: int
    confidence: float
    latency_ms: float
    """From request to suggestion."""
    age_ms: float
    """From suggestion to this outcome."""


def acceptance_file() -> Path:
    """Where the log is kept; older parts end in `.1`, `.2`, …"""
    return state_dir() / "acceptance.jsonl"


class AcceptanceLog:
    """Appends records on a thread of its own, so that a slow disk holds nobody up. A disk that fails ends the log."""

    def __init__(
        self, path: Path | None = None, *, largest_bytes: int = _LARGEST_BYTES, kept_files: int = _KEPT_FILES
    ) -> None:
        self._path = path or acceptance_file()
        self._largest_bytes = largest_bytes
        self._kept_files = kept_files
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def write(self, record: AcceptanceRecord) -> None:
        """Queue one record."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="acceptance-log", daemon=True)
            self._thread.start()
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **asdict(record)}
        self._waiting.put(json.dumps(line) + "\n")

    def close(self) -> None:
        """Wait until everything is written."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        failed = False
        while (line := self._waiting.get()) is not None:
            if failed:
                continue
            try:
                self._append(line)
            except OSError as error:
                failed = True
                logger.warning("The acceptance log %s cannot be written, and ends here: %s", self._path, error)

    def _append(self, line: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size + len(line) > self._largest_bytes:
            self._turn_over(len(line))
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def _turn_over(self, coming_bytes: int) -> None:
        """Shift `log` → `log.1` → `log.2` …; whoever comes second finds it done. Skipped while another one is at it."""
        # Needed once in a thousand lines, and slow to import.
        from filelock import FileLock, Timeout

        try:
            with FileLock(f"{self._path}.lock", timeout=1):
                if self._path.stat().st_size + coming_bytes <= self._largest_bytes:
                    return
                for number in range(self._kept_files - 1, 0, -1):
                    older = Path(f"{self._path}.{number}")
                    newer = Path(f"{self._path}.{number - 1}") if number > 1 else self._path
                    if newer.exists():
                        newer.replace(older)
        except Timeout:
            logger.info("Another process is turning over %s.", self._path)
