"""From the engine's chunks and errors to the JSON that OpenAI's clients read. Knows no HTTP connection.

tersely's extensions: `timings_ms` beside the last choice, `token_ids` within `logprobs`, `hint` within an error.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from model.api import Chunk, EngineTimings, ModelInfo, TokenLogprob, Usage
from model.errors import (
    EngineAuthError,
    EngineBusyError,
    EngineUnavailableError,
    InternalError,
    ModelError,
    RequestError,
    TerselyError,
)
from model.service.fields import BadFieldError
from model.wire import OWNER

Json = dict[str, Any]

_STATUS: tuple[tuple[type[TerselyError], int, str], ...] = (
    (EngineAuthError, 401, "authentication_error"),
    (EngineBusyError, 429, "rate_limit_error"),
    (RequestError, 400, "invalid_request_error"),
    (EngineUnavailableError, 503, "service_unavailable_error"),
    (ModelError, 503, "service_unavailable_error"),
)


@dataclass(slots=True)
class CompletionReply:
    """One answer, whole or in chunks. `text_offset` counts the characters sent so far.

    `continuous_usage`: the counts on every chunk; `include_usage`: in an event after the last choice.
    """

    model: str
    with_logprobs: bool = False
    continuous_usage: bool = False
    include_usage: bool = False
    end: bytes = b"data: [DONE]\n\n"
    identity: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    text_offset: int = 0

    def events(self, chunk: Chunk) -> list[Json]:
        """What a chunk becomes in a stream."""
        events = [self._chunk(chunk, with_counts=self.continuous_usage)]
        if self.include_usage and chunk.finish_reason is not None and chunk.usage is not None:
            events.append(self._envelope([]) | {"usage": usage_json(chunk.usage)})
        return events

    def _chunk(self, chunk: Chunk, *, with_counts: bool) -> Json:
        choice: Json = {
            "index": 0,
            "text": chunk.text,
            "logprobs": self._logprobs(chunk.logprobs) if self.with_logprobs else None,
            "finish_reason": chunk.finish_reason,
        }
        envelope = self._envelope([choice])
        if with_counts and chunk.usage is not None:
            envelope["usage"] = usage_json(chunk.usage)
        if chunk.timings is not None and (with_counts or chunk.finish_reason is not None):
            envelope["timings_ms"] = timings_json(chunk.timings)
        return envelope

    def whole(self, chunks: Sequence[Chunk]) -> Json:
        """The answer in one piece. The last chunk has the finish reason and the counts."""
        return self._chunk(merged(chunks), with_counts=True)

    def _envelope(self, choices: list[Json]) -> Json:
        return {
            "id": self.identity,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> Json:
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self.text_offset)
            self.text_offset += len(token.text)
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [dict(token.top) for token in tokens],
            "text_offset": offsets,
            "token_ids": [token.token_id for token in tokens],
        }


def merged(chunks: Sequence[Chunk]) -> Chunk:
    """All of a stream as one chunk; the last has the finish reason and the counts."""
    last = chunks[-1]
    return Chunk(
        text="".join(chunk.text for chunk in chunks),
        logprobs=tuple(token for chunk in chunks for token in chunk.logprobs),
        finish_reason=last.finish_reason,
        usage=last.usage,
        timings=last.timings,
    )


def usage_json(usage: Usage) -> Json:
    """Token counts in OpenAI's shape."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def timings_json(timings: EngineTimings) -> Json:
    """The engine's milliseconds: queue, prefill, decode."""
    return {"queue": timings.queue_ms, "prefill": timings.prefill_ms, "decode": timings.decode_ms}


def model_json(info: ModelInfo, *, created: int) -> Json:
    """One entry of `/v1/models`; what OpenAI's shape has no place for lies under `tersely`."""
    return {
        "id": info.name,
        "object": "model",
        "created": created,
        "owned_by": OWNER,
        "max_model_len": info.context_tokens,
        "tersely": {
            "architecture": info.architecture,
            "fim_family": info.fim_family,
            "parameters": info.parameters,
            "device": info.device,
            "quantization": info.quantization,
        },
    }


def error_json(error: TerselyError) -> tuple[int, Json]:
    """HTTP status and body of an error, in OpenAI's shape."""
    status, kind = 500, "server_error"
    for leaf, leaf_status, leaf_kind in _STATUS:
        if isinstance(error, leaf):
            status, kind = leaf_status, leaf_kind
            break
    body = {
        "message": str(error),
        "type": kind,
        "param": error.param if isinstance(error, BadFieldError) else None,
        "code": type(error).__name__,
        "hint": error.hint,
    }
    return status, {"error": body}


def defect() -> InternalError:
    """What a client is told of an exception that should not be; the log has its trace."""
    return InternalError("The engine failed on this request.", hint="See the engine's log; please report it.")


def event(body: Json) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
