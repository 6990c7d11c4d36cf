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
    """The envelope of one answer, whole or in chunks. `text_offset` counts the characters sent so far."""

    model: str
    identity: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    text_offset: int = 0

    def chunk(self, chunk: Chunk, *, with_logprobs: bool, continuous_usage: bool = False) -> Json:
        """One event of a stream."""
        choice: Json = {
            "index": 0,
            "text": chunk.text,
            "logprobs": self._logprobs(chunk.logprobs) if with_logprobs else None,
            "finish_reason": chunk.finish_reason,
        }
        envelope = self._envelope([choice])
        if continuous_usage and chunk.usage is not None:
            envelope["usage"] = usage_json(chunk.usage)
        if chunk.timings is not None and (continuous_usage or chunk.finish_reason is not None):
            envelope["timings_ms"] = timings_json(chunk.timings)
        return envelope

    def usage_chunk(self, usage: Usage) -> Json:
        """The event after the last choice, for those who asked with `include_usage`."""
        return self._envelope([]) | {"usage": usage_json(usage)}

    def whole(self, chunks: Sequence[Chunk], *, with_logprobs: bool) -> Json:
        """The answer in one piece. The last chunk has the finish reason and the counts."""
        last = chunks[-1]
        merged = Chunk(
            text="".join(chunk.text for chunk in chunks),
            logprobs=tuple(token for chunk in chunks for token in chunk.logprobs),
            finish_reason=last.finish_reason,
            usage=last.usage,
            timings=last.timings,
        )
        return self.chunk(merged, with_logprobs=with_logprobs, continuous_usage=True)

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


DONE = b"data: [DONE]\n\n"
