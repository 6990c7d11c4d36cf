"""Spellings of hosted models, the addresses they mean, and the keys that go there."""

from __future__ import annotations

import logging
import pickle

import pytest

from model.errors import EngineAuthError, UsageError
from model.hosted.address import is_hosted, parse_hosted
from model.hosted.keys import Key, find_key, host_variable, key_names

URLS = {
    "mistral:codestral-latest": "https://api.mistral.ai/v1/fim/completions",
    "mistral/chat:mistral-large-latest": "https://api.mistral.ai/v1/chat/completions",
    "codestral:codestral-latest": "https://codestral.mistral.ai/v1/fim/completions",
    "deepseek:deepseek-chat": "https://api.deepseek.com/beta/completions",
    "deepseek/chat:deepseek-chat": "https://api.deepseek.com/chat/completions",
    "openai:gpt-4o-mini": "https://api.openai.com/v1/chat/completions",
    "openai/completions:gpt-3.5-turbo-instruct": "https://api.openai.com/v1/completions",
    "compatible/completions:org/coder:7b@https://llm.example.com/api/v1/": "https://llm.example.com/api/v1/completions",
    "compatible:m@http://127.0.0.1:8000": "http://127.0.0.1:8000/v1/chat/completions",
    "azure:my dep@https://x.openai.azure.com/": (
        "https://x.openai.azure.com/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21"
    ),
    "azure/completions:d@https://x.openai.azure.com?api-version=2025-01-01-preview": (
        "https://x.openai.azure.com/openai/deployments/d/completions?api-version=2025-01-01-preview"
    ),
}


@pytest.mark.parametrize(("spelling", "url"), URLS.items())
def test_address(spelling: str, url: str) -> None:
    assert is_hosted(spelling)
    assert parse_hosted(spelling).url == url


@pytest.mark.parametrize(
    "text", ["smollm2-135m", "/models/mistral.gguf", "C:\\x.gguf", "https://a", "fake:x", "mistral"]
)
def test_what_is_no_hosted_model(text: str) -> None:
    assert not is_hosted(text)
    with pytest.raises(UsageError):
        parse_hosted(text)


@pytest.mark.parametrize(
    "text",
    [
        "mistral:",
        "mistral: @https://x.com",
        "mistral/embeddings:x",
        "azure:deployment",
        "compatible:m@ftp://x",
        "compatible:m@http://llm.example.com",
        "compatible:m@https://user:pass@x.com",
        "compatible:m@https://x.com:99999",
        "compatible:m@nonsense",
    ],
)
def test_bad_spellings(text: str) -> None:
    with pytest.raises(UsageError):
        parse_hosted(text)


def no_keyring(host: str) -> None:
    return None


def test_a_key_goes_to_its_own_host_alone() -> None:
    environment = {"MISTRAL_API_KEY": "secret"}
    own = find_key(parse_hosted("mistral:m"), environment=environment, keyring=no_keyring)
    assert own is not None
    assert own.reveal() == "secret"
    for spelling in (
        "mistral:m@https://evil.example.com",
        "mistral:m@http://localhost:1",
        "codestral:m@https://evil.ai",
    ):
        assert find_key(parse_hosted(spelling), environment=environment, keyring=no_keyring) is None


def test_azure_keys_go_to_azure() -> None:
    environment = {"AZURE_OPENAI_API_KEY": "k"}
    azure = parse_hosted("azure:d@https://me.openai.azure.com")
    assert find_key(azure, environment=environment, keyring=no_keyring) is not None
    other = parse_hosted("azure:d@https://openai.azure.com.evil.com")
    assert find_key(other, environment=environment, keyring=no_keyring) is None


def test_a_hosts_own_variable_comes_first_and_the_keyring_last() -> None:
    model = parse_hosted("openai:m")
    assert key_names(model) == ("TERSELY_KEY_API_OPENAI_COM", "OPENAI_API_KEY")
    asked: list[str] = []

    def keyring(host: str) -> str:
        asked.append(host)
        return "third"

    environment = {"TERSELY_KEY_API_OPENAI_COM": "first\n", "OPENAI_API_KEY": "second"}
    for expected in ("first", "second", "third"):
        key = find_key(model, environment=environment, keyring=keyring)
        assert key is not None
        assert key.reveal() == expected
        environment.pop(next(iter(environment), ""), None)
    assert asked == ["api.openai.com"]


def test_a_missing_key_says_where_to_put_it() -> None:
    with pytest.raises(EngineAuthError, match="MISTRAL_API_KEY"):
        find_key(parse_hosted("mistral:m"), environment={"MISTRAL_API_KEY": "  "}, keyring=no_keyring)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_broken_key_is_not_shown(key: str) -> None:
    with pytest.raises(EngineAuthError) as caught:
        find_key(parse_hosted("mistral:m"), environment={"MISTRAL_API_KEY": key}, keyring=no_keyring)
    assert key not in str(caught.value)


def test_a_key_is_not_shown_by_accident(caplog: pytest.LogCaptureFixture) -> None:
    key = Key("secret")
    logging.getLogger("test").warning("%s %r %s", key, key, [key])
    assert "secret" not in caplog.text + f"{key}{key!r}"
    assert key.hide_in("You sent secret.") == "You sent ***."
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_the_systems_keyring_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    backend = pytest.importorskip("keyring.backend")
    before = keyring.get_keyring()  # chosen among those that are known: the one below must not be

    class Memory(backend.KeyringBackend):  # type: ignore[misc, name-defined]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return "kept" if (service, username) == ("tersely", "api.mistral.ai") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def delete_password(self, service: str, username: str) -> None:
            raise NotImplementedError

    keyring.set_keyring(Memory())
    try:
        found = find_key(parse_hosted("mistral:m"), environment={})
    finally:
        keyring.set_keyring(before)
    assert found is not None
    assert found.reveal() == "kept"


def test_host_variable() -> None:
    assert host_variable("llm.example-1.com") == "TERSELY_KEY_LLM_EXAMPLE_1_COM"
