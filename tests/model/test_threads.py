"""The number of threads: the user's word, else what is free."""

from __future__ import annotations

import psutil
import pytest

from model.threads import free_cores


@pytest.mark.parametrize(
    ("load", "cores", "expected"), [(0.0, 4, 4), (1.2, 4, 3), (3.6, 4, 1), (9.0, 4, 1), (0.0, 1, 1)]
)
def test_busy_cores_are_left_alone(load: float, cores: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: cores)
    monkeypatch.setattr(psutil, "getloadavg", lambda: (load, load, load))
    assert free_cores() == expected


@pytest.mark.parametrize(("word", "expected"), [("3", 3), ("0", None), ("many", None)])
def test_the_users_word_wins(word: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "getloadavg", lambda: (99.0, 99.0, 99.0))
    monkeypatch.setenv("OMP_NUM_THREADS", word)
    assert free_cores() == (expected or 1)
