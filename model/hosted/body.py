"""Requests to hosted models as JSON, with each provider's names for things. Knows no HTTP."""

from __future__ import annotations

import json
from typing import Any

from model.api import GrammarKind, SamplingParams
from model.chat import ChatRequest, Message, Role, ToolChoice
from model.chat_json import message_json, tool_json
from model.errors import RequestError
from model.hosted.address import HostedModel
from model.hosted.hole import Hole, with_files

Json = dict[str, Any]


def completion_body(model: HostedModel, hole: Hole, sampling: SamplingParams) -> Json:
    """A hole for a server that fills it: prefix and suffix apart. Without a suffix: text to go on with."""
    provider = model.provider
    most = provider.most_tokens or sampling.max_tokens
    body = _common(model, sampling) | {
        "prompt": with_files(hole, provider.file_header),
        "max_tokens": min(sampling.max_tokens, most),
    }
    if hole.suffix:
        body["suffix"] = hole.suffix
    if sampling.logprobs is not None and provider.logprobs:
        body["logprobs"] = sampling.logprobs
    return body


def chat_body(model: HostedModel, request: ChatRequest) -> Json:
    """A conversation, with tools and JSON mode where they are asked for."""
    provider = model.provider
    messages = request.messages
    body = _common(model, request.sampling) | {provider.limit_field: request.sampling.max_tokens}
    schema = _schema(request)
    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.json:
        body["response_format"] = {"type": "json_object"}
        if not any("json" in message.text.lower() for message in messages):
            # Without the word in the conversation, servers refuse JSON mode, or send blanks without end.
            messages = (Message(role=Role.SYSTEM, text="Answer with one JSON object."), *messages)
    body["messages"] = [message_json(message, parsed=False) for message in messages]
    if request.tools:
        body["tools"] = [tool_json(tool) for tool in request.tools]
        body["tool_choice"] = _choice(request, provider.required_tool)
        if not request.parallel:
            body["parallel_tool_calls"] = False
    return body


def _common(model: HostedModel, sampling: SamplingParams) -> Json:
    provider = model.provider
    stops = list(sampling.stop[: provider.most_stops])  # those beyond are looked for here, see `HostedEngine`
    body: Json = {"model": model.model, "stream": True, "temperature": sampling.temperature}
    optional: dict[str, tuple[object, object]] = {
        "top_p": (sampling.top_p, 1.0),
        provider.seed_field: (sampling.seed, None),
        "stop": (stops, []),
    }
    body |= {name: value for name, (value, default) in optional.items() if value != default}
    if provider.usage_on_request:
        body["stream_options"] = {"include_usage": True}
    return body


def _choice(request: ChatRequest, required_tool: str) -> str | Json:
    if request.tool_name is not None:
        return {"type": "function", "function": {"name": request.tool_name}}
    return required_tool if request.tool_choice is ToolChoice.REQUIRED else request.tool_choice.value


def _schema(request: ChatRequest) -> Json | None:
    """A JSON schema as structured outputs name it. Raises `RequestError` for grammars, which no provider takes."""
    grammar = request.sampling.grammar
    if grammar is None:
        return None
    if grammar.kind is not GrammarKind.JSON_SCHEMA:
        raise RequestError("Hosted models follow JSON schemas only.", hint="Send a JSON schema, or use a local model.")
    return {"name": "answer", "schema": json.loads(grammar.text), "strict": not grammar.lenient}
