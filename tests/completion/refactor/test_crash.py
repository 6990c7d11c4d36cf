"""kill -9 at every step of writing: each file is old or new, and the run can be finished or taken back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from completion.refactor.journal import Journal
from completion.refactor.overlay import Overlay
from model.errors import RefusedError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this test kills forked children")

OLD = {"a.py": b"one\r\n", "pkg/b.py": b"two\n", "pkg/gone.py": b"bye\n"}
NEW = {"a.py": b"ONE\r\n", "pkg/b.py": b"TWO\nmore\n", "fresh/c.py": b"new\n"}
STEPS = 16


def make(root: Path) -> None:
    for path, content in OLD.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def apply(root: Path, folder: Path, step: Callable[[str], None]) -> None:
    overlay = Overlay(root)
    overlay.write("a.py", "ONE\n")
    overlay.write("pkg/b.py", "TWO\nmore\n")
    overlay.write("fresh/c.py", "new\n")
    overlay.remove("pkg/gone.py")
    Journal(root, folder=folder, step=step).apply(overlay.changes(), label="try")


def die_at(number: int, work: Callable[[Callable[[str], None]], None]) -> bool:
    """Do the work in a child that is killed at its step `number`; whether it came that far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def step(name: str) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            work(step)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def state(root: Path) -> dict[str, bytes]:
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and not file.name.endswith(".tersely-new")
    }


def old_or_new(root: Path) -> None:
    for path in {*OLD, *NEW}:
        file = root / path
        assert (file.read_bytes() if file.exists() else None) in (OLD.get(path), NEW.get(path)), path


@pytest.mark.parametrize("ending", ["resume", "undo"])
def test_killed_while_applying(tmp_path: Path, ending: str) -> None:
    for number in range(1, 100):
        root, folder = tmp_path / f"{number}", tmp_path / f"journal-{number}"
        make(root)
        died = die_at(number, lambda step, root=root, folder=folder: apply(root, folder, step))
        old_or_new(root)
        journal = Journal(root, folder=folder)
        if not died:
            assert number == STEPS + 1, "the count of steps is written down above"
            return
        if journal.unfinished() is None:
            # The death came before the run counted, or after all was done but its last mark.
            assert state(root) == OLD
            apply(root, folder, lambda _: None)
        elif ending == "resume":
            with pytest.raises(RefusedError):
                apply(root, folder, lambda _: None)
            assert journal.resume() is not None
        else:
            assert journal.undo()[0].state == "undone"
            assert state(root) == OLD
            assert not list(root.rglob("*.tersely-new"))
            continue
        assert state(root) == NEW
        assert not list(root.rglob("*.tersely-new"))
    pytest.fail("the child never came to its end")


def test_an_interrupted_run_comes_first(tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "journal"
    make(root)
    assert die_at(STEPS, lambda step: apply(root, folder, step))
    overlay = Overlay(root)
    overlay.write("a.py", "again\n")
    with pytest.raises(RefusedError, match="interrupted"):
        Journal(root, folder=folder).apply(overlay.changes(), label="another")


def test_killed_while_undoing(tmp_path: Path) -> None:
    for number in range(1, 100):
        root, folder = tmp_path / f"{number}", tmp_path / f"journal-{number}"
        make(root)
        apply(root, folder, lambda _: None)
        died = die_at(
            number, lambda step, root=root, folder=folder: print(Journal(root, folder=folder, step=step).undo())
        )
        old_or_new(root)
        if not died:
            assert number > 8
            assert state(root) == OLD
            return
        assert Journal(root, folder=folder).undo()[0].state == "undone"
        assert state(root) == OLD
    pytest.fail("the child never came to its end")
