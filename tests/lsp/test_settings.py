"""Settings as editors send them, good and bad."""

from __future__ import annotations

import dataclasses

import pytest

from completion.api import Level
from completion.settings import CompletionSettings
from lsp.settings import KEYS, Settings, needs_new_completer, parse


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"enabled": False}, {"enabled": False}, id="a boolean"),
        pytest.param({"completion": {"menu": True}}, {"menu": True}, id="nested"),
        pytest.param({"completion.menu": True}, {"menu": True}, id="flat"),
        pytest.param({"engine": {"url": "http://h:1"}, "level": "eager"}, {"engine_url": "http://h:1"}, id="engine"),
        pytest.param({"maxTokens": 32.0}, {"max_tokens": 32}, id="Lua's numbers"),
        pytest.param({"disabledLanguages": {}}, {"disabled_languages": ()}, id="Lua's empty table"),
        pytest.param({"disabledLanguages": ["tex"]}, {"disabled_languages": ("tex",)}, id="a list"),
        pytest.param({"maxTokens": None, "model": None}, {}, id="null is the default"),
        pytest.param({"engine": {"url": " "}}, {"engine_url": None}, id="an empty text is none"),
        pytest.param(
            {"trace": {"server": "off"}, "client.path": "x", "server": {"command": []}}, {}, id="the editor's"
        ),
    ],
)
def test_good_settings(sent: object, expected: dict[str, object]):
    settings, problems = parse(sent)
    assert problems == ()
    for name, value in expected.items():
        holder = settings if hasattr(settings, name) else settings.completion
        assert getattr(holder, name) == value
    if not expected:
        assert settings == Settings()


def test_later_sources_weigh_more_key_by_key():
    settings, _ = parse({"level": "quiet", "maxTokens": 8}, {"level": "eager", "maxTokens": None})
    assert (settings.completion.level, settings.completion.max_tokens) == (Level.EAGER, 8)


BAD = [
    ("enabled", "yes", "true"),
    ("enabled", 1, "true"),
    ("disabledLanguages", "tex", "[]"),
    ("disabledLanguages", [1], "[]"),
    ("maxFileSize", -1, "1000000"),
    ("completion.menu", "on", "false"),
    ("acceptanceLog", [], "true"),
    ("level", "loud", '"balanced"'),
    ("model", "", '"smollm2-135m"'),
    ("maxTokens", 0, "64"),
    ("maxTokens", 1.5, "64"),
    ("maxTokens", True, "64"),
    ("context", "yes", "true"),
    ("trusted", 1, "true"),
    ("engine.url", "localhost:80", "none"),
    ("engine.tokenFile", 7, "none"),
    ("engine.adapter", 7, "none"),
    ("engine.threads", {"a": 1}, "none"),
    ("lookAhead", "soon", "true"),
    ("engine.idleUnload", "soon", "900.0"),
    ("engine.idleUnload", -1, "900.0"),
    ("embeddings.url", "localhost:80", "none"),
    ("embeddings.model", 7, '"default"'),
    ("embeddings.tokenFile", 7, "none"),
]


@pytest.mark.parametrize(("key", "value", "default"), BAD)
def test_a_bad_value_is_named_and_falls_back(key: str, value: object, default: str):
    settings, problems = parse({key: value, "enabled": False} if key != "enabled" else {key: value})
    [problem] = problems
    assert problem.key == key
    assert f'"tersely.{key}"' in problem.message
    assert problem.message.endswith(f"using the default, {default}.")
    assert settings == Settings(enabled=key == "enabled")


def test_every_key_has_a_case_that_fails_and_a_field_that_exists():
    assert {key.name for key in KEYS} == {key for key, _, _ in BAD}
    for key in KEYS:
        key.default()
    ours = {field.name for field in dataclasses.fields(Settings)} - {"completion"}
    assert {key.field for key in KEYS if not key.of_completion} == ours


@pytest.mark.parametrize(
    ("key", "guess"),
    [("disabledLanguage", 'Did you mean "tersely.disabledLanguages"?'), ("maxToken", "tersely.maxTokens"), ("x", "")],
)
def test_an_unknown_key_is_named_with_its_nearest(key: str, guess: str):
    settings, [problem] = parse({key: 1})
    assert settings == Settings()
    assert f'"tersely.{key}"' in problem.message
    assert guess in problem.message
    assert ("Did you mean" in problem.message) == bool(guess)


@pytest.mark.parametrize("sent", [[], "text", 7])
def test_settings_that_are_no_object_are_passed_over(sent: object):
    settings, problems = parse(sent)
    assert settings == Settings()
    assert len(problems) == 1


def test_only_the_level_can_change_without_a_new_completer():
    old = CompletionSettings()
    assert not needs_new_completer(old, dataclasses.replace(old, level=Level.EAGER))
    assert needs_new_completer(old, dataclasses.replace(old, model="other"))
    assert needs_new_completer(old, dataclasses.replace(old, engine_url="http://x"))
