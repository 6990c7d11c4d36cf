"""The chat template that a checkpoint brings: in a GGUF file's metadata, or beside a folder's tokenizer. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from model.chat_template import ChatTemplate
from model.checkpoint.gguf import GgufFile
from model.errors import RequestError
from model.mistral_template import VERSIONS, MistralTemplate


def read_chat_template(path: Path, *, control_tokens: Collection[str]) -> ChatTemplate:
    """The template of a GGUF file or of a folder in HF's layout, or that of Mistral's tokenizer of the version that
    lies there. Raises `RequestError` where there is none."""
    found = _of_folder(path) if path.is_dir() else _of_gguf(path)
    if found is None and (version := _mistral_version(path)) is not None:
        return MistralTemplate(version, control_tokens=control_tokens)
    if found is None:
        raise RequestError(
            f"{path.name} brings no chat template: the model only continues text.",
            hint="Use /v1/completions, or serve a model that was tuned to converse.",
        )
    source, bos, eos = found
    return ChatTemplate(source, control_tokens=control_tokens, bos=bos, eos=eos)


def _of_gguf(path: Path) -> tuple[str, str, str] | None:
    with GgufFile(path) as file:
        source = file.metadata.get("tokenizer.chat_template")
        tokens = file.metadata.get("tokenizer.ggml.tokens")
        names = []
        for kind in ("bos", "eos"):
            index = file.metadata.get(f"tokenizer.ggml.{kind}_token_id")
            known = isinstance(index, int) and isinstance(tokens, list) and 0 <= index < len(tokens)
            names.append(str(tokens[index]) if known and isinstance(tokens, list) and isinstance(index, int) else "")
    return (source, names[0], names[1]) if isinstance(source, str) else None


def _of_folder(path: Path) -> tuple[str, str, str] | None:
    config = _json(path / "tokenizer_config.json")
    file = path / "chat_template.jinja"
    source = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if isinstance(source, list):  # several by name
        named = {one.get("name"): one.get("template") for one in source if isinstance(one, dict)}
        source = named.get("default")
    if not isinstance(source, str):
        return None
    return source, _token(config.get("bos_token")), _token(config.get("eos_token"))


def _mistral_version(path: Path) -> int | None:
    """From `tekken.json`, or from the name of a SentencePiece file beside a `params.json`."""
    stated: object = None
    if (path / "tekken.json").is_file():
        config = _json(path / "tekken.json").get("config")
        stated = config.get("version") if isinstance(config, dict) else None
    elif (path / "params.json").is_file() and (models := sorted(path.glob("tokenizer.model*"))):
        stated = models[-1].suffix.removeprefix(".").replace("model", "v1")
    digits = re.match(r"v(\d+)", stated) if isinstance(stated, str) else None
    return int(digits[1]) if digits is not None and int(digits[1]) in VERSIONS else None


def _token(value: object) -> str:
    """A token as a string, or as an object with its `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # what cannot be read names no template, and the caller says so
        return {}
    return body if isinstance(body, dict) else {}
