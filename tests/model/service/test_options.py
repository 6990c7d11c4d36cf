"""Engine options: which are refused, which share an engine, and how they travel to the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import UsageError
from model.service.options import EngineOptions

FULL = EngineOptions(
    model="models/my model.gguf",
    host="127.0.0.1",
    port=8000,
    token_file=Path("token"),
    idle_unload_s=2.5,
    threads=2,
    dtype="float32",
    quantize="int8",
    adapter=Path("adapter"),
    context_tokens=512,
    processes=2,
)


UPSTREAM = EngineOptions(model="https://models.example:8443/v1", upstream_token_file=Path("token"))


@pytest.mark.parametrize(
    "options",
    [
        EngineOptions(),
        FULL,
        UPSTREAM,
        EngineOptions(model="fake:--threads=9 \n 'quoted'"),
        EngineOptions(idle_unload_s=None),
    ],
)
def test_arguments_come_back(options: EngineOptions) -> None:
    assert EngineOptions.from_arguments(options.to_arguments()) == options.resolved()


def test_another_folder_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments, key = FULL.to_arguments(), FULL.key
    monkeypatch.chdir(tmp_path)
    assert EngineOptions.from_arguments(arguments).key == key


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"port": 1}, True),
        ({"host": "::1"}, True),
        ({"token_file": Path("t")}, True),
        ({"idle_unload_s": None}, True),
        ({"model": "other.gguf"}, False),
        ({"threads": 3}, False),
        ({"dtype": "bfloat16"}, False),
        ({"quantize": "none"}, False),
        ({"adapter": Path("a")}, False),
        ({"context_tokens": 7}, False),
        ({"processes": 2}, False),
    ],
)
def test_who_shares_an_engine(change: dict[str, object], shared: bool) -> None:
    assert (EngineOptions(**change).key == EngineOptions().key) is shared  # type: ignore[arg-type]


def test_an_absolute_path_is_the_same_model() -> None:
    assert EngineOptions(model="a.gguf").key == EngineOptions(model=str(Path("a.gguf").absolute())).key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(dtype="float8"), "no dtype 'float8'"),
        (EngineOptions(quantize="int3"), "no quantization 'int3'"),
        (EngineOptions(threads=0), "--threads"),
        (EngineOptions(context_tokens=-1), "--context"),
        (EngineOptions(processes=0), "--tensor-parallel-size"),
        (EngineOptions(model="https://models.example", processes=2), "that this engine computes"),
        (EngineOptions(idle_unload_s=0), "--idle-unload"),
        (EngineOptions(host="127.0.0.1"), "needs --port"),
        (EngineOptions(port=65536), "no port 65536"),
        (EngineOptions(host="0.0.0.0", port=1), "ask for a token"),
        (EngineOptions(host="example.org", port=1), "ask for a token"),
    ],
)
def test_what_cannot_be(options: EngineOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        options.check()
    assert caught.value.hint


def test_what_can_be() -> None:
    FULL.check()
    EngineOptions(host="localhost", port=0).check()
    EngineOptions(host="0.0.0.0", port=1, token_file=Path("t")).check()


def test_fake_models() -> None:
    assert EngineOptions(model="fake:a:b").fake == ("a:b", 0.0)
    assert EngineOptions(model="fake@0.5:two\nlines").fake == ("two\nlines", 0.5)
    assert EngineOptions(model="fakes.gguf").fake is None
    assert EngineOptions(model="/x/My.Model.gguf").model_name == "My.Model"


def test_a_server_has_its_address_as_its_name() -> None:
    assert UPSTREAM.model_name == "models.example:8443"
    UPSTREAM.check()


def test_an_upstream_token_needs_an_upstream() -> None:
    with pytest.raises(UsageError, match="upstream-token-file"):
        EngineOptions(upstream_token_file=Path("token")).check()
