"""A hosted model behind a real engine process: key from the environment, text to the host, nothing in the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import fim
from model.api import GenerateRequest, SamplingParams
from model.errors import EngineUnavailableError
from model.hosted.accounting import ledger_path, read_totals
from model.hosted.hole import FAMILY
from model.service.managed import ManagedEngine
from model.service.options import EngineOptions
from tests.model.hosted.playing import Player
from tests.model.service.serving import serve

HOLE = fim.render(FAMILY, prefix="def add(a, b):\n    return ", suffix="\n", path="calc.py")


async def test_text_goes_to_the_host_with_its_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERSELY_KEY_127_0_0_1", "sk-very-secret")
    player = Player()
    async with serve(player.app()) as url:
        engine = ManagedEngine(EngineOptions(model=f"mistral:codestral-latest@{url}", idle_unload_s=60.0))
        try:
            info = await engine.info()
            asked = GenerateRequest(prompt=HOLE, sampling=SamplingParams(max_tokens=5))
            text = "".join([chunk.text async for chunk in engine.generate(asked)])
        finally:
            await engine.aclose()
    assert (info.name, info.fim_family) == ("mistral:codestral-latest", FAMILY)
    assert text == "a + b"
    [(path, headers, body)] = player.requests
    assert path == "/v1/fim/completions"
    assert headers["authorization"] == "Bearer sk-very-secret"
    assert (body["prompt"], body["suffix"]) == ("def add(a, b):\n    return ", "\n")
    assert read_totals(ledger_path()).requests == 1
    written = _all_files(home)
    assert any("hosted-usage" in name for name in written)
    assert not any("sk-very-secret" in text or "def add" in text for text in written.values())


def _all_files(home: Path) -> dict[str, str]:
    """What the engine left behind: log, ledger, whatever else."""
    return {file.name: file.read_text(encoding="utf-8") for file in home.rglob("*") if file.is_file()}


async def test_a_missing_key_is_told_to_who_asks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    monkeypatch.delenv("TERSELY_KEY_API_MISTRAL_AI", raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    engine = ManagedEngine(EngineOptions(model="mistral:codestral-latest", idle_unload_s=60.0))
    try:
        with pytest.raises(EngineUnavailableError, match="MISTRAL_API_KEY"):
            await engine.info()
    finally:
        await engine.aclose()
