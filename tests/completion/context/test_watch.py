"""Many events in, few words out; and a system that cannot watch is said so."""

from __future__ import annotations

import errno
import queue
import time
from pathlib import Path

import pytest

from completion.context.watch import MANY, QUIET_S, Coalescer, Watcher

Told = queue.Queue[frozenset[str] | None]


def test_what_changes_together_is_told_together() -> None:
    told: Told = queue.Queue()
    coalescer = Coalescer(told.put, quiet_s=0.1)
    for path in ("a", "b", "a"):
        coalescer.add(path)
    assert told.get(timeout=10) == frozenset({"a", "b"})
    coalescer.close()
    assert told.empty()


def test_a_stream_of_changes_is_told_in_between() -> None:
    told: Told = queue.Queue()
    coalescer = Coalescer(told.put, quiet_s=60, patience_s=0.05)
    coalescer.add("a")
    assert told.get(timeout=10) == frozenset({"a"})
    coalescer.close()


@pytest.mark.parametrize("unknown", [True, False])
def test_too_many_changes_are_one_word(unknown: bool) -> None:
    told: Told = queue.Queue()
    coalescer = Coalescer(told.put, quiet_s=0.1)
    for number in range(10 if unknown else 10 * MANY):
        coalescer.add(f"f{number}")
    if unknown:
        coalescer.add(None)
    assert told.get(timeout=10) is None
    coalescer.close()
    assert told.empty()


def test_closing_tells_nothing_more() -> None:
    told: Told = queue.Queue()
    coalescer = Coalescer(told.put, quiet_s=60)
    coalescer.add("a")
    coalescer.close()
    assert told.empty()


def test_a_branch_switch_of_5000_files_is_no_event_storm(tmp_path: Path) -> None:
    told: Told = queue.Queue()
    watcher = Watcher(tmp_path, told.put, notice=pytest.fail)
    started_s = time.monotonic()
    for number in range(5000):
        (tmp_path / f"f{number}.py").write_text("x")
    words = [told.get(timeout=20)]
    while True:
        try:
            words.append(told.get(timeout=1))
        except queue.Empty:
            break
    watcher.close()
    # On a slow machine the storm has calm spells, each of which may end with a word.
    assert len(words) <= 3 + (time.monotonic() - started_s) / QUIET_S
    assert None in words or len(frozenset().union(*filter(None, words))) == 5000


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("write", {"a.py"}),
        ("delete", {"a.py"}),
        ("rename", {"a.py", "b.py"}),
        ("ignore", None),
        ("folder", None),
    ],
)
def test_changes_are_told_by_relative_path(tmp_path: Path, change: str, expected: set[str] | None) -> None:
    (tmp_path / "a.py").write_text("x")
    told: Told = queue.Queue()
    watcher = Watcher(tmp_path, told.put, notice=pytest.fail)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "i.js").write_text("x")
    match change:
        case "write":
            (tmp_path / "a.py").write_text("y")
        case "delete":
            (tmp_path / "a.py").unlink()
        case "rename":
            (tmp_path / "a.py").rename(tmp_path / "b.py")
        case "ignore":
            (tmp_path / ".gitignore").write_text("a.py")
        case "folder":
            (tmp_path / "new").mkdir()
    assert told.get(timeout=20) == expected
    watcher.close()


def test_the_systems_limit_is_said_and_polling_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.start", refuse)
    told: Told = queue.Queue()
    notices: list[str] = []
    watcher = Watcher(tmp_path, told.put, notice=notices.append, poll_s=0.05)
    assert watcher.polling
    assert told.get(timeout=10) is None
    watcher.close()
    (notice,) = notices
    assert "max_user_watches" in notice
