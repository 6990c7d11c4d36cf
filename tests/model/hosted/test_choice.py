"""A hosted model chosen by `--model`: options, the loader, and what the doctor says of where text goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.doctor import Verdict, examine
from model.errors import EngineAuthError, UsageError
from model.hosted.accounting import ledger_path, prices_path
from model.hosted.engine import HostedEngine
from model.service.loading import loader
from model.service.options import EngineOptions

MODEL = "mistral:codestral-latest"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERSELY_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setenv("MISTRAL_API_KEY", "secret")


def test_options() -> None:
    options = EngineOptions(model=MODEL)
    options.check()
    assert options.is_hosted
    assert options.is_url
    assert options.model_name == MODEL
    assert options.resolved().model == MODEL
    assert EngineOptions.from_arguments(options.to_arguments()).model == MODEL
    assert not EngineOptions(model="smollm2-135m").is_url


@pytest.mark.parametrize(
    "options",
    [EngineOptions(model="mistral:"), EngineOptions(model=MODEL, upstream_token_file=Path("token"))],
)
def test_options_that_cannot_be(options: EngineOptions) -> None:
    with pytest.raises(UsageError):
        options.check()


async def test_the_loader_opens_it() -> None:
    engine = await loader(EngineOptions(model=MODEL))(lambda status: None)
    assert isinstance(engine, HostedEngine)
    assert (await engine.info()).name == MODEL
    await engine.aclose()


async def test_the_loader_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRAL_API_KEY")
    with pytest.raises(EngineAuthError, match="MISTRAL_API_KEY"):
        await loader(EngineOptions(model=MODEL))(lambda status: None)


def test_the_doctor_says_where_text_goes() -> None:
    findings = {finding.subject: finding for finding in examine(MODEL)}
    assert "https://api.mistral.ai/v1/fim/completions" in findings["privacy"].detail
    assert "a key for it is there" in findings["model"].detail
    assert "secret" not in str(findings)
    assert findings["usage"].detail.startswith("0 requests, 0 tokens so far")
    assert str(ledger_path()) in findings["usage"].detail
    assert findings["usage"].verdict is Verdict.WARNING
    assert str(prices_path()) in findings["usage"].hint


def test_the_doctor_knows_prices() -> None:
    prices_path().parent.mkdir(parents=True)
    prices_path().write_text('{"mistral:codestral-latest": {"input": 1, "output": 2}}')
    findings = {finding.subject: finding for finding in examine(MODEL)}
    assert findings["usage"].verdict is Verdict.OK


@pytest.mark.parametrize("model", ["mistral:", "azure:x"])
def test_the_doctor_takes_bad_spellings(model: str) -> None:
    assert any(finding.verdict is Verdict.FAILURE and finding.subject == "model" for finding in examine(model))
