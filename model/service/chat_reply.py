"""Answers in the shape of chat, whole or in chunks, with calls of tools. Knows no HTTP.

Source: OpenAI's API reference, "Create chat completion" and "Streaming".
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from model.api import Chunk, FinishReason
from model.chat import ChatChunk, ToolCall
from model.service.reply import Json, merged, timings_json, usage_json


@dataclass(frozen=True, slots=True, kw_only=True)
class CallChunk(Chunk):
    """A step of a conversation's answer: text, and calls that were completed with it."""

    tool_calls: tuple[ToolCall, ...] = ()


def as_chunk(chunk: ChatChunk) -> CallChunk:
    """A step in the shape that generations are counted in."""
    return CallChunk(
        text=chunk.text,
        tool_calls=chunk.tool_calls,
        finish_reason=chunk.finish_reason,
        usage=chunk.usage,
        timings=chunk.timings,
    )


@dataclass(slots=True)
class ChatReply:
    """One answer in the shape of chat, whole or in chunks.

    `include_usage`: the counts come in an event after the last choice (OpenAI); else with it (Mistral).
    """

    model: str
    include_usage: bool = False
    usage_with_last: bool = False
    identity: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    end: bytes = b"data: [DONE]\n\n"
    _begun: bool = False
    _calls: int = 0

    def whole(self, chunks: Sequence[Chunk]) -> Json:
        """The answer in one piece. `content` is null where there are calls and nothing else."""
        chunk = merged(chunks)
        calls = [call for one in chunks for call in _calls_of(one)]
        message: Json = {"role": "assistant", "content": chunk.text if chunk.text or not calls else None}
        if calls:
            message["tool_calls"] = [_call_json(call) for call in calls]
        body = self._envelope("chat.completion", [_choice({"message": message}, chunk, called=bool(calls))])
        return body | _counts(chunk)

    def events(self, chunk: Chunk) -> list[Json]:
        """What a chunk becomes in a stream: every event with a choice has `content`, for clients that read no less."""
        delta: Json = {"content": chunk.text} if self._begun else {"role": "assistant", "content": chunk.text}
        self._begun = True
        if calls := _calls_of(chunk):
            delta["tool_calls"] = [{"index": index, **_call_json(one)} for index, one in enumerate(calls, self._calls)]
            self._calls += len(calls)
        last = chunk.finish_reason is not None
        event = self._envelope("chat.completion.chunk", [_choice({"delta": delta}, chunk, called=self._calls > 0)])
        if last and self.usage_with_last:
            event |= _counts(chunk)
        events = [event]
        if last and self.include_usage:
            events.append(self._envelope("chat.completion.chunk", []) | _counts(chunk))
        return events

    def _envelope(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.identity,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def _choice(said: Json, chunk: Chunk, *, called: bool) -> Json:
    reason: str | None = chunk.finish_reason
    if called and chunk.finish_reason is FinishReason.STOP:
        reason = "tool_calls"
    return {"index": 0, **said, "logprobs": None, "finish_reason": reason}


def _calls_of(chunk: Chunk) -> tuple[ToolCall, ...]:
    return chunk.tool_calls if isinstance(chunk, CallChunk) else ()


def _call_json(call: ToolCall) -> Json:
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _counts(chunk: Chunk) -> Json:
    counts: Json = {} if chunk.usage is None else {"usage": usage_json(chunk.usage)}
    return counts if chunk.timings is None else counts | {"timings_ms": timings_json(chunk.timings)}
