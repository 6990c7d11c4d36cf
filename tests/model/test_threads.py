"""The number of threads: the user's word, else what is free."""

from __future__ import annotations

import time
from types import SimpleNamespace

import psutil
import pytest

from model.threads import CoresTaken, ThreadPace, free_cores


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


class Machine:
    """Cores that others take, and a clock, both as the test says."""

    def __init__(self) -> None:
        self.taken, self.now_s = 0.0, 0.0

    def pace(self, threads: int, *, cores: int) -> ThreadPace:
        return ThreadPace(threads, cores=cores, taken=lambda: self.taken, now_s=lambda: self.now_s)

    def steps(self, pace: ThreadPace, count: int, spent_ms: float) -> list[bool]:
        found = []
        for _ in range(count):
            self.now_s += spent_ms / 1e3
            found.append(pace.record(spent_ms))
        return found


def test_a_core_that_others_take_costs_a_thread_once_steps_are_slow() -> None:
    machine = Machine()
    pace = machine.pace(2, cores=2)
    machine.steps(pace, 50, 8)
    machine.taken = 1.1
    assert not any(machine.steps(pace, 50, 9))  # busy as they are, they are in nobody's way
    assert pace.threads == 2
    assert machine.steps(pace, 8, 60) == [False] * 7 + [True]
    assert pace.threads == 1


def test_the_thread_comes_back_when_the_others_are_gone() -> None:
    machine = Machine()
    pace = machine.pace(1, cores=2)
    machine.taken = 1.0
    machine.steps(pace, 1000, 12)
    assert pace.threads == 1
    machine.taken = 0.1
    changes = machine.steps(pace, 500, 12)
    assert changes.count(True) == 1
    assert pace.threads == 2


def test_slow_steps_that_are_nobodys_fault_change_nothing() -> None:
    machine = Machine()
    pace = machine.pace(4, cores=4)
    machine.steps(pace, 10, 8)
    assert not any(machine.steps(pace, 300, 50))
    assert pace.threads == 4


def test_one_slow_step_is_no_reason() -> None:
    machine = Machine()
    pace = machine.pace(2, cores=2)
    machine.taken = 1.0
    for _ in range(40):
        assert not any(machine.steps(pace, 5, 8))
        assert not any(machine.steps(pace, 3, 80))
    assert pace.threads == 2


def test_at_least_one_thread_is_left() -> None:
    machine = Machine()
    pace = machine.pace(2, cores=2)
    machine.taken = 7.0
    machine.steps(pace, 1, 1)
    machine.steps(pace, 8, 10)
    assert pace.threads == 1


def test_what_others_take_is_all_but_our_own_and_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, whole, own = (
        10.0,
        {"user": 500.0, "nice": 3.0, "system": 40.0, "idle": 9000.0},
        {"user": 70.0, "system": 2.0},
    )
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(**whole))
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(cpu_times=lambda: SimpleNamespace(**own)))
    taken = CoresTaken()
    assert taken() == 0.0
    now_s += 4.0
    whole |= {"user": 510.0, "nice": 4.0, "system": 41.0, "idle": 9004.0}
    own |= {"user": 77.0, "system": 3.0}
    assert taken() == pytest.approx((12 - 8) / 4)
    now_s += 2.0
    own |= {"user": 80.0}  # counted before the system's own count caught up
    assert taken() == 0.0


def test_the_systems_own_figures_are_read() -> None:
    taken = CoresTaken()
    time.sleep(0.05)
    assert 0 <= taken() <= (psutil.cpu_count() or 1) + 1
