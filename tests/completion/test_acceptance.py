"""The acceptance log's file: appended by many, turned over, and never in anybody's way."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from completion.acceptance import AcceptanceLog, AcceptanceRecord, Outcome, acceptance_file
from model.paths import state_dir


def record(number: int) -> AcceptanceRecord:
    return AcceptanceRecord(
        outcome=Outcome.SHOWN,
        suggestion_id=f"id-{number}",
        language_id="python",
        model="m",
        length=3,
        lines=1,
        accepted_length=0,
        confidence=0.5,
        latency_ms=1.0,
        age_ms=2.0,
    )


def ids(path: Path) -> list[str]:
    return [json.loads(line)["suggestion_id"] for line in path.read_text().splitlines()]


def test_it_lies_in_the_users_state_folder():
    assert acceptance_file().parent == state_dir()


def test_two_logs_on_one_file_lose_nothing(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    logs = [AcceptanceLog(path), AcceptanceLog(path)]
    for number in range(50):
        logs[number % 2].write(record(number))
    for log in logs:
        log.close()
    assert sorted(ids(path)) == sorted(f"id-{number}" for number in range(50))


def test_it_can_go_on_after_closing(tmp_path: Path):
    log = AcceptanceLog(tmp_path / "log.jsonl")
    log.close()
    for number in range(2):
        log.write(record(number))
        log.close()
    assert ids(tmp_path / "log.jsonl") == ["id-0", "id-1"]


def test_it_turns_over_and_keeps_the_newest(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = AcceptanceLog(path, largest_bytes=1000, kept_files=3)
    for number in range(40):
        log.write(record(number))
    log.close()
    files = [Path(f"{path}.2"), Path(f"{path}.1"), path]
    assert all(0 < file.stat().st_size <= 1000 for file in files)
    kept = [one for file in files for one in ids(file)]
    assert kept == [f"id-{number}" for number in range(40 - len(kept), 40)]
    assert not Path(f"{path}.3").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_nobody_else_may_read_it(tmp_path: Path):
    log = AcceptanceLog(tmp_path / "log.jsonl")
    log.write(record(0))
    log.close()
    assert stat.S_IMODE(os.stat(tmp_path / "log.jsonl").st_mode) == 0o600


def test_a_disk_that_fails_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("")
    log = AcceptanceLog(tmp_path / "file" / "log.jsonl")
    for number in range(3):
        log.write(record(number))
    log.close()
    assert caplog.text.count("cannot be written") == 1
