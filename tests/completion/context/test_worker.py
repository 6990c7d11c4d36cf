"""The indexing process: it follows saves, shares an index with others, and can be killed at any moment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from completion.context import __main__ as door
from completion.context.store import Store, is_sound


@contextmanager
def working(root: Path, file: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", str(door.__file__), str(root), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def await_state(process: subprocess.Popen[str], state: str) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event.get("state") == state:
            return event
    raise AssertionError("the process ended")


def tell(process: subprocess.Popen[str], paths: list[str]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"changed": paths}) + "\n")
    process.stdin.flush()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "model.py").write_text("def shadow(): pass\n")
    return root


def defined(file: Path, name: str) -> list[str]:
    store = Store(file)
    try:
        return store.files_defining(name, limit=9)
    finally:
        store.close()


def test_it_indexes_follows_saves_and_ends_with_its_input(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "index.sqlite"
    with working(root, file) as process:
        await_state(process, "ready")
        assert defined(file, "shadow") == ["model.py"]
        (root / "new.py").write_text("def fresh(): pass\n")
        tell(process, ["new.py"])
        await_state(process, "ready")
        assert defined(file, "fresh") == ["new.py"]
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def test_changes_outside_the_editor_are_noticed(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "index.sqlite"
    with working(root, file) as process:
        await_state(process, "ready")
        (root / "outside.py").write_text("def outside(): pass\n")
        await_state(process, "ready")
        assert defined(file, "outside") == ["outside.py"]


def test_a_second_process_takes_over_when_the_first_is_killed(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "index.sqlite"
    with working(root, file) as first:
        await_state(first, "ready")
        with working(root, file) as second:
            await_state(second, "following")
            (root / "late.py").write_text("def late(): pass\n")
            first.kill()
            await_state(second, "ready")
            assert defined(file, "late") == ["late.py"]


@pytest.mark.slow
@pytest.mark.parametrize("lines_before_kill", [1, 2])
def test_kill_during_indexing_leaves_a_usable_index(tmp_path: Path, root: Path, lines_before_kill: int) -> None:
    for number in range(1500):
        (root / f"m{number}.py").write_text(f"def f{number}(shared): return shared\n" * 120)
    file = tmp_path / "index.sqlite"
    with working(root, file) as process:
        for _ in range(lines_before_kill):
            await_state(process, "indexing")
        process.kill()
        process.wait()
    assert is_sound(file)
    store = Store(file)
    half = store.count()
    assert store.search(["shared"]) or half == 0
    store.close()
    assert half < 1501
    with working(root, file) as process:
        await_state(process, "ready")
    store = Store(file)
    assert store.count() == 1501
    store.close()
    whole = tmp_path / "whole.sqlite"
    with working(root, whole) as process:
        await_state(process, "ready")
    kept, fresh = Store(file), Store(whole)
    assert {path: stamp.hash for path, stamp in kept.known().items()} == {
        path: stamp.hash for path, stamp in fresh.known().items()
    }
    kept.close()
    fresh.close()
