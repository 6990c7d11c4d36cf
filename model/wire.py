"""OpenAI's completions protocol from the client's side: requests to JSON, JSON to chunks, failures to our errors.

Knows no connection. Reads tersely's extensions, vLLM's and llama.cpp's where they are there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model import fim
from model.api import (
    Chunk,
    EngineTimings,
    FinishReason,
    GenerateRequest,
    Grammar,
    GrammarKind,
    ModelInfo,
    Prompt,
    Segment,
    TokenLogprob,
    Usage,
)
from model.errors import (
    EngineAuthError,
    EngineBusyError,
    EngineError,
    EngineUnavailableError,
    RequestError,
)

OWNER = "tersely"
"""`owned_by` of the models that tersely's own server lists."""
DEFAULT_CONTEXT_TOKENS = 8192

Json = Mapping[str, Any]

_BREAK = "\u200b"
_COMMON_CONTROL_TOKENS = (
    "<s>",
    "</s>",
    "<unk>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "<EOT>",
)
_CONTROL = re.compile(
    "|".join(
        sorted(
            {
                r"<\|[^|<>\s]{1,48}\|>",
                r"<｜[^｜<>\s]{1,48}｜>",
                *map(re.escape, _COMMON_CONTROL_TOKENS),
                *(re.escape(token.lstrip("▁")) for row in fim.FORMATS.values() for token in row.control_tokens),
            },
            key=len,
            reverse=True,
        )
    )
)


def defused(text: str) -> str:
    """The user's text for a server that reads control tokens in any text: each is broken by a zero-width space."""
    return _CONTROL.sub(lambda match: match[0][0] + _BREAK + match[0][1:], text)


def as_text(prompt: Prompt, *, fim_family: str) -> str | list[int]:
    """A prompt for a server that knows no segments: text with control tokens spelled out, or token ids."""
    if isinstance(prompt, str):
        return defused(prompt)
    spelling = fim.FORMATS[fim_family].spelling if fim_family in fim.FORMATS else {}
    parts: list[str] = []
    ids: list[int] = []
    for part in prompt:
        if isinstance(part, int):
            ids.append(part)
        else:
            parts.append(spelling.get(part.text, part.text) if part.special else defused(part.text))
    return ids or "".join(parts)


def request_json(request: GenerateRequest, info: ModelInfo, *, native: bool) -> dict[str, Any]:
    """The body of `/v1/completions`, streaming. `native`: tersely's own server, which knows all we can say.

    Others get OpenAI's fields, and those of vLLM's and llama.cpp's that were asked for.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": info.name,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    optional: dict[str, tuple[object, object]] = {
        "top_p": (sampling.top_p, 1.0),
        "top_k": (sampling.top_k, 0),
        "seed": (sampling.seed, None),
        "stop": (list(sampling.stop), []),
        "ignore_eos": (sampling.ignore_eos, False),
        "logprobs": (sampling.logprobs, None),
    }
    body |= {name: value for name, (value, default) in optional.items() if value != default}
    if sampling.control_text:
        body["skip_special_tokens"] = False
    if sampling.grammar is not None:
        body |= grammar_json(sampling.grammar, native=native)
    if not native:
        return body | {"prompt": as_text(request.prompt, fim_family=info.fim_family)}
    body["stream_options"]["continuous_usage_stats"] = True
    body["priority"] = request.priority.name.lower()
    return body | _native_prompt(request.prompt)


def grammar_json(grammar: Grammar, *, native: bool) -> dict[str, Any]:
    """As our own server takes it, or as vLLM does; others know no such thing, and whoever asks must check."""
    if native:
        return {"grammar": asdict(grammar) | {"kind": grammar.kind.value}}
    if grammar.kind is GrammarKind.JSON_SCHEMA:
        return {"structured_outputs": {"json": json.loads(grammar.text)}}
    kind = "regex" if grammar.kind is GrammarKind.REGEX else "grammar"
    return {"structured_outputs": {kind: grammar.text}}


def _native_prompt(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt}
    segments = [{"text": part.text, "special": part.special} for part in prompt if isinstance(part, Segment)]
    return {"segments": segments} if segments else {"prompt": list(prompt)}


def chunk_of(event: Json) -> Chunk:
    """One event of a stream; what is absent stays at its default."""
    choices = event.get("choices") or [{}]
    choice = choices[0]
    reason = choice.get("finish_reason")
    return Chunk(
        text=choice.get("text") or "",
        logprobs=_logprobs(choice.get("logprobs") or {}),
        finish_reason=None if reason is None else _REASONS.get(reason, FinishReason.STOP),
        usage=_usage(event["usage"]) if event.get("usage") else None,
        timings=_timings(event),
    )


_REASONS = {reason.value: reason for reason in FinishReason}


def _usage(usage: Json) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
    )


def _timings(event: Json) -> EngineTimings | None:
    ours = event.get("timings_ms")
    if ours:
        return EngineTimings(queue_ms=ours["queue"], prefill_ms=ours["prefill"], decode_ms=ours["decode"])
    llama_cpp = event.get("timings")
    if llama_cpp:
        return EngineTimings(
            prefill_ms=llama_cpp.get("prompt_ms") or 0.0, decode_ms=llama_cpp.get("predicted_ms") or 0.0
        )
    return None


def _logprobs(found: Json) -> tuple[TokenLogprob, ...]:
    if "content" in found:  # llama.cpp answers in the shape of chat completions
        return tuple(
            TokenLogprob(
                entry.get("id") or 0,
                entry.get("token") or "",
                entry.get("logprob") or 0.0,
                tuple((rival["token"], rival["logprob"]) for rival in entry.get("top_logprobs") or ()),
            )
            for entry in found["content"] or ()
        )
    tokens = found.get("tokens") or ()
    rivals = found.get("top_logprobs") or [None] * len(tokens)
    ids = found.get("token_ids") or [0] * len(tokens)
    values = found.get("token_logprobs") or [0.0] * len(tokens)
    return tuple(
        TokenLogprob(token_id, token, value or 0.0, tuple((top or {}).items()))
        for token_id, token, value, top in zip(ids, tokens, values, rivals, strict=True)
    )


@dataclass(frozen=True, slots=True)
class ListedModel:
    """An entry of `/v1/models`. `native`: tersely's own server speaks."""

    info: ModelInfo
    native: bool


def listed_model(body: Json, *, wanted: str | None) -> ListedModel:
    """The model to use out of `/v1/models`. Raises `RequestError` when `wanted` is not served."""
    entries = {entry["id"]: entry for entry in body.get("data") or ()}
    name = wanted or next(iter(entries), None)
    if name is None or name not in entries:
        raise RequestError(
            f"The server does not serve {wanted!r}." if wanted else "The server serves no model.",
            hint=f"It has: {', '.join(entries) or 'none'}.",
        )
    entry = entries[name]
    ours = entry.get("tersely") or {}
    context = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx_train") or DEFAULT_CONTEXT_TOKENS
    info = ModelInfo(
        name=name,
        architecture=ours.get("architecture", "remote"),
        fim_family=ours.get("fim_family", fim.NONE),
        context_tokens=context,
        parameters=ours.get("parameters", 0),
        device=ours.get("device", "remote"),
        quantization=ours.get("quantization", "unknown"),
    )
    return ListedModel(info, native=entry.get("owned_by") == OWNER and "tersely" in entry)


_BY_TYPE: Mapping[str, type[EngineError]] = {
    "invalid_request_error": RequestError,
    "BadRequestError": RequestError,
    "authentication_error": EngineAuthError,
    "rate_limit_error": EngineBusyError,
}


def error_of(status: int, body: object, *, where: str) -> EngineError:
    """Our error for an HTTP status and what came with it. `where` names the server for people."""
    detail = body.get("error", body) if isinstance(body, dict) else {}
    detail = detail if isinstance(detail, dict) else {"message": str(detail)}
    hint = str(detail.get("hint") or "")
    message = str(detail.get("message") or detail.get("detail") or f"HTTP status {status}").removesuffix(hint).strip()
    if status in (401, 403):
        return EngineAuthError(f"{where} refuses us: {message}", hint=hint or "Give the token that it expects.")
    if status == 429:
        return EngineBusyError(f"{where} has no room now: {message}", hint=hint or "Wait a little, then try again.")
    if 400 <= status < 500:
        return RequestError(message, hint=hint or f"{where} refused the request.")
    return EngineUnavailableError(f"{where} failed: {message}", hint=hint or "Look at its log.")


def stream_error(detail: object, *, where: str) -> EngineError:
    """Our error for an `error` event within a stream, which has no status of its own."""
    body = detail if isinstance(detail, dict) else {"message": str(detail)}
    statuses = {RequestError: 400, EngineAuthError: 401, EngineBusyError: 429}
    kind = _BY_TYPE.get(str(body.get("type")))
    code = body.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return error_of(status if kind is None else statuses[kind], body, where=where)
