"""The script for a lent GPU, dry-run on a CPU: it trains, leaves an adapter, and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.train import corpus
from model.train.adapter import load_adapter
from model.train.archive import Package
from tests.model import tiny
from tests.model.train.tiny_corpus import CONTROL, MAIN, SHAPES
from tests.test_house import ROOT


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell script")
def test_two_calls_are_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "CONTROL", CONTROL)
    base = tiny.write_tiny(tmp_path / "tiny.gguf")
    package = Package("pypi", "paint", "1", "MIT", (("shapes.py", SHAPES), ("main.py", MAIN)))
    corpus.save(*corpus.build([package], excluded_lines=frozenset()), tmp_path / "corpus")
    script = [str(ROOT / "bench" / "gpu_train.sh"), str(tmp_path / "corpus"), str(tmp_path / "run"), "0.01"]
    steps = []
    for decay in ("0", "0.005"):
        done = subprocess.run(
            [*script, decay, "--model", str(base), "--rank", "2"],
            env={**os.environ, "PYTHON": sys.executable, "DEVICE": "cpu", "SIZE": "none"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        steps.append(json.loads(done.stdout)["steps"])
    assert 0 < steps[0] < steps[1]
    assert load_adapter(tmp_path / "run" / "adapter.safetensors").info.rank == 2
