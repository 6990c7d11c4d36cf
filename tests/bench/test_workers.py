"""The quality bench's processes end with the one that started them, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

_PARENT = """
import os, time
from bench.quality.workers import workers
def task():
    print(os.getpid(), flush=True)
    time.sleep(600)
if __name__ == "__main__":
    with workers(1) as pool:
        pool.submit(task).result()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_they_end_where_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(_PARENT)
    command = [sys.executable, str(tmp_path / "parent.py")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, env={"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.ppid() == parent.pid
        parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs([worker], timeout=30)[1] == []
