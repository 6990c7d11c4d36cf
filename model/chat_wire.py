"""OpenAI's chat protocol from the client's side: conversations to JSON, events to chunks. Knows no connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model import wire
from model.api import FinishReason, Grammar, GrammarKind, ModelInfo
from model.chat import ChatChunk, ChatRequest, ToolCall
from model.chat_json import message_json, tool_json

Json = Mapping[str, Any]


def request_json(request: ChatRequest, info: ModelInfo, *, native: bool) -> dict[str, Any]:
    """The body of `/v1/chat/completions`, streaming. `native`: tersely's own server.

    What people wrote goes to other servers with control tokens broken up, as in prompts.
    """
    sampling = request.sampling
    messages = [message_json(message, parsed=False) for message in request.messages]
    body: dict[str, Any] = {
        "model": info.name,
        "messages": messages if native else _defused(messages),
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
    }
    body |= {name: value for name, (value, default) in optional.items() if value != default}
    if native:
        body["priority"] = request.priority.name.lower()
    if request.tools:
        body |= _tools(request)
    if sampling.grammar is not None:
        body |= _format(sampling.grammar, native=native)
    elif request.json:
        body["response_format"] = {"type": "json_object"}
    return body


def chunk_of(event: Json, calls: CallPieces) -> ChatChunk:
    """One event of a stream, or a whole answer; pieces of calls go to `calls`."""
    counted = wire.chunk_of(event)
    choice = (event.get("choices") or [{}])[0]
    said = choice.get("delta") or choice.get("message") or {}
    calls.add(said.get("tool_calls") or ())
    content = said.get("content")
    reason = choice.get("finish_reason")
    return ChatChunk(
        text=content if isinstance(content, str) else "",
        finish_reason=None if reason is None else _REASONS.get(reason, FinishReason.STOP),
        usage=counted.usage,
        timings=counted.timings,
    )


_REASONS = {"length": FinishReason.LENGTH, "abort": FinishReason.ABORT}


@dataclass(slots=True)
class CallPieces:
    """Tool calls as they grow: OpenAI's in pieces by index, Mistral's whole."""

    _grown: dict[int, list[str]] = field(default_factory=dict)

    def add(self, pieces: tuple[Json, ...] | list[Json]) -> None:
        """Take what one event adds."""
        for place, piece in enumerate(pieces):
            index = piece.get("index")
            grown = self._grown.setdefault(place if index is None else index, ["", "", ""])
            function = piece.get("function") or {}
            grown[0] = piece.get("id") or grown[0]
            grown[1] += function.get("name") or ""
            arguments = function.get("arguments") or ""
            grown[2] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def calls(self) -> tuple[ToolCall, ...]:
        """All calls, in order."""
        return tuple(ToolCall(*self._grown[index]) for index in sorted(self._grown))


def _tools(request: ChatRequest) -> dict[str, Any]:
    choice: Any = request.tool_choice.value
    if request.tool_name is not None:
        choice = {"type": "function", "function": {"name": request.tool_name}}
    asked: dict[str, Any] = {"tools": [tool_json(tool) for tool in request.tools], "tool_choice": choice}
    return asked if request.parallel else asked | {"parallel_tool_calls": False}


def _format(grammar: Grammar, *, native: bool) -> dict[str, Any]:
    if grammar.kind is not GrammarKind.JSON_SCHEMA:
        return wire.grammar_json(grammar, native=native)
    schema = {"name": "answer", "schema": json.loads(grammar.text), "strict": not grammar.lenient}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _defused(value: Any) -> Any:
    if isinstance(value, str):
        return wire.defused(value)
    if isinstance(value, list):
        return [_defused(one) for one in value]
    if isinstance(value, dict):
        return {key: _defused(one) for key, one in value.items()}
    return value
