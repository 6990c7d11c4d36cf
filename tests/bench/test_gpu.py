"""The bench of the GPU as a dry run: every step of it on tiny models, on whatever device there is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from bench.gpu.__main__ import main
from bench.gpu.check import failed
from bench.gpu.models import MODELS, TINY, bytes_per_token
from bench.gpu.peer import measure_peer
from model.on_device import plan_slots


def test_a_dry_run_fills_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.json"
    assert main(["--tiny", "--no-peer", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert set(figures["models"]) == {"tiny-dense", "tiny-mixture", "tiny-state-space"}
    for row in figures["models"].values():
        for found in row["formats"]:
            assert found["tokens_per_s"] > 0
            assert found["roofline_tokens_per_s"] > 0
            assert found["first_token_cold_ms"] > 0
            assert found["first_token_warm_8_ms"] > 0
    assert "tiny-mixture fp8" in capsys.readouterr().out


def test_what_the_time_does_not_reach_is_said(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    main(["--tiny", "--model", "tiny-dense", "--limit", "0", "--out", str(out)])
    row = json.loads(out.read_text())["models"]["tiny-dense"]
    assert row["formats"] == [{"format": name, "skipped": "no time was left"} for name in ("none", "int4")]
    assert row["peer"]["eager"] == "no time was left"


def test_the_peer_runs_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its compiled way without the compiler, which wants a GPU's."""
    monkeypatch.setattr(torch, "compile", lambda peer, **_: peer)
    for model in TINY:
        found = measure_peer(
            model,
            device=torch.device("cpu"),
            dtype=torch.float32,
            context_tokens=24,
            steps=2,
            until=time.monotonic() + 600,
        )
        assert found["best_tokens_per_s"] == max(found["eager"], found["compiled"]) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_without_a_gpu_nothing_is_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "not yet measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("mixtral-8x7b", 25.5),
        ("qwen3-coder-30b-a3b", 6.1),
        ("deepseek-coder-v2-lite", 4.9),
        ("codestral-mamba-7b", 14.57 - 0.27 + 2 * 0.27),  # the table is not read, and states are read and written
    ],
)
def test_bytes_for_a_token_are_those_of_the_published_sizes(name: str, gigabytes: float) -> None:
    (model,) = [model for model in MODELS if model.name == name]
    found = bytes_per_token(model.config, "none", torch.bfloat16, context_tokens=0) / 1e9
    assert found == pytest.approx(gigabytes, rel=0.04)


@pytest.mark.parametrize(("quantize", "slots"), [("int4", 5), ("int8", 3), ("fp8", 3), ("none", 0)])
def test_mixtral_takes_turns_on_24_gigabytes_when_it_is_packed(quantize: str, slots: int) -> None:
    """Of the eight experts of each layer so many lie on the GPU; in sixteen bits fewer than a token chooses."""
    (model,) = [model for model in MODELS if model.name == "mixtral-8x7b"]
    assert plan_slots(model.config, quantize, torch.bfloat16, 23_500_000_000) == slots


def test_a_check_that_is_off_or_does_not_run_fails_the_bench() -> None:
    found: dict[str, float | str] = {
        "a": 0.001,
        "b": 0.5,
        "c": "no kernel",
        "attention, xformers": "no kernel",
        "d": float("nan"),
    }
    assert failed(found) == ["b", "c", "d"]
