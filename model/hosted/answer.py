"""What hosted models send, in one shape: OpenAI's completions and chat, Mistral's FIM, DeepSeek's. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model import wire
from model.api import FinishReason, TokenLogprob, Usage
from model.errors import EngineUnavailableError

Json = Mapping[str, Any]

_LONG = frozenset({"length", "model_length"})
_FAILED = frozenset({"error", "insufficient_system_resource"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One event: what it adds. `calls` are pieces of tool calls, see `model.chat_wire.CallPieces`."""

    text: str = ""
    calls: tuple[Json, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


def delta_of(event: Json) -> Delta:
    """Read an event of a stream, or a whole answer. What is absent, or meant for others, adds nothing.

    Raises `EngineUnavailableError` for a generation that the server gave up.
    """
    choice = (event.get("choices") or [{}])[0]
    said = choice.get("delta") or choice.get("message") or {}
    reason = choice.get("finish_reason")
    if reason in _FAILED:
        raise EngineUnavailableError(f"The server gave up: {reason}.", hint="Try again a little later.")
    finish = None
    if reason is not None:
        finish = FinishReason.LENGTH if reason in _LONG else FinishReason.STOP
    return Delta(
        text=choice.get("text") or _text(said.get("content")),
        calls=tuple(said.get("tool_calls") or ()),
        logprobs=wire.chunk_of({"choices": [{"logprobs": choice.get("logprobs")}]}).logprobs,
        finish_reason=finish,
        usage=_usage(event["usage"]) if event.get("usage") else None,
    )


def _text(content: object) -> str:
    """Mistral's models that reason send a list of parts; only what is said counts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _usage(usage: Json) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
    )
