"""The user's settings: typed, parsed from whatever an editor sends. A bad value never stops the server.

Editors send them as `initializationOptions.tersely` and as the configuration section `tersely`, nested
(`{"engine": {"url": …}}`) or flat (`{"engine.url": …}`); both are read. `null` means the default.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from completion.api import Level
from completion.settings import CompletionSettings

_EDITORS_OWN = ("client.", "server.", "trace.")
"""Keys below these belong to the editor's side (where the server is, what to trace) and are passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user chose. `completion` is for the rooms below; a change of `level` there needs no new completer."""

    enabled: bool = True
    disabled_languages: tuple[str, ...] = ()
    max_file_size: int = 1_000_000
    """In characters: larger documents get no suggestions."""
    menu: bool = False
    """Also answer `textDocument/completion`, for editors without inline completion."""
    acceptance_log: bool = True
    completion: CompletionSettings = field(default_factory=CompletionSettings)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one key. `value` is what was sent, as text, to tell a new mistake from an old one."""

    key: str
    value: str
    message: str


class _BadValueError(Exception):
    """Says what was expected; becomes a `Problem`, and never leaves this module."""


@dataclass(frozen=True, slots=True)
class Key:
    """A setting by its public name, the dataclass field it fills, and how its value is read."""

    name: str
    field: str
    read: Callable[[object], Any]
    description: str
    of_completion: bool = False

    def default(self) -> Any:
        return getattr(CompletionSettings() if self.of_completion else Settings(), self.field)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _BadValueError("true or false")
    return value


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        # Lua has one kind of number, and sends 64 as 64.0 at times.
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(whole, bool) or not isinstance(whole, int) or not least <= whole <= most:
            raise _BadValueError(f"a whole number from {least} to {most}")
        return whole

    return read


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise _BadValueError("a number of seconds, 0 or more")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _BadValueError("a text that is not empty")
    return value.strip()


def _optional_text(value: object) -> str | None:
    if not isinstance(value, str):
        raise _BadValueError("a text")
    return value.strip() or None


def _url(value: object) -> str | None:
    text = _optional_text(value)
    if text is not None and not text.startswith(("http://", "https://", "unix:")):
        raise _BadValueError('a URL that begins with "http://", "https://" or "unix:"')
    return text


def _names(value: object) -> tuple[str, ...]:
    if value == {}:
        return ()  # Lua's empty table.
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _BadValueError("a list of texts")
    return tuple(value)


def _level(value: object) -> Level:
    try:
        return Level(str(value))
    except ValueError:
        raise _BadValueError(" or ".join(f'"{level}"' for level in Level)) from None


KEYS: tuple[Key, ...] = (
    Key("enabled", "enabled", _boolean, "Offer suggestions at all."),
    Key("disabledLanguages", "disabled_languages", _names, "Language ids without suggestions."),
    Key("maxFileSize", "max_file_size", _whole(0, 10**9), "Largest document with suggestions, in characters."),
    Key("completion.menu", "menu", _boolean, "Offer suggestions in the completion menu too."),
    Key("acceptanceLog", "acceptance_log", _boolean, "Keep a local log of what was accepted, without content."),
    Key("level", "level", _level, "How much to suggest: quiet, balanced or eager.", of_completion=True),
    Key("model", "model", _text, "Name or path of the model, or a hosted one.", of_completion=True),
    Key("maxTokens", "max_tokens", _whole(1, 4096), "Longest suggestion, in tokens.", of_completion=True),
    Key("context", "context", _boolean, "Show the model what matters of other files.", of_completion=True),
    Key("lookAhead", "look_ahead", _boolean, "Complete ahead what follows an accepted suggestion.", of_completion=True),
    Key("trusted", "trusted", _boolean, "Read and index the workspace's files.", of_completion=True),
    Key("embeddings.url", "embeddings_url", _url, "Server that tells which code means alike.", of_completion=True),
    Key("embeddings.model", "embeddings_model", _text, "The model to ask there.", of_completion=True),
    Key("embeddings.tokenFile", "embeddings_token_file", _optional_text, "File with its token.", of_completion=True),
    Key("engine.url", "engine_url", _url, "Server to ask instead of starting an engine.", of_completion=True),
    Key("engine.tokenFile", "engine_token_file", _optional_text, "File with its token.", of_completion=True),
    Key("engine.adapter", "adapter", _optional_text, "Adapter file that `tersely train` wrote.", of_completion=True),
    Key("engine.threads", "threads", _whole(1, 1024), "Threads of an engine that is started.", of_completion=True),
    Key("engine.idleUnload", "idle_unload_s", _seconds, "Seconds until an idle engine unloads.", of_completion=True),
)
_BY_NAME = {key.name: key for key in KEYS}


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings as dotted keys. A mapping that stands where a known key's value belongs is left as it is."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in _BY_NAME:
            flat.update(flatten(value, f"{key}."))
        else:
            flat[key] = value
    return flat


def parse(*sources: object) -> tuple[Settings, tuple[Problem, ...]]:
    """Settings from sources of growing weight, and what is wrong with them. Never raises."""
    problems: list[Problem] = []
    given: dict[str, object] = {}
    for source in sources:
        if isinstance(source, Mapping):
            given.update({key: value for key, value in flatten(source).items() if value is not None})
        elif source is not None:
            problems.append(Problem("", repr(source), "tersely's settings must be an object; they are passed over."))
    own: dict[str, Any] = {}
    lower: dict[str, Any] = {}
    for name, value in given.items():
        key = _BY_NAME.get(name)
        if key is None:
            if problem := _unknown(name, value):
                problems.append(problem)
            continue
        try:
            (lower if key.of_completion else own)[key.field] = key.read(value)
        except _BadValueError as expected:
            problems.append(_bad(key, value, str(expected)))
    settings = Settings(**own, completion=replace(CompletionSettings(), **lower))
    return settings, tuple(problems)


def needs_new_completer(old: CompletionSettings, new: CompletionSettings) -> bool:
    """Whether more than the level changed."""
    return any(getattr(old, one.name) != getattr(new, one.name) for one in fields(old) if one.name != "level")


def _unknown(name: str, value: object) -> Problem | None:
    if name.startswith(_EDITORS_OWN):
        return None
    close = difflib.get_close_matches(name, _BY_NAME, n=1)
    guess = f' Did you mean "tersely.{close[0]}"?' if close else ""
    return Problem(name, repr(value), f'There is no setting "tersely.{name}"; it is passed over.{guess}')


def _bad(key: Key, value: object, expected: str) -> Problem:
    default = shown(key.default())
    message = f'The setting "tersely.{key.name}" must be {expected}, not {shown(value)}; using the default, {default}.'
    return Problem(key.name, repr(value), message)


def shown(value: object) -> str:
    """A value as it would stand in a settings file, shortened."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case str():
            text = f'"{value}"'
        case tuple():
            text = f"[{', '.join(shown(item) for item in value)}]"
        case _:
            text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
