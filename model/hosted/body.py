"""Requests to hosted models as JSON, with each provider's names for things. Knows no HTTP."""

from __future__ import annotations

from typing import Any

from model.api import SamplingParams
from model.chat import ChatRequest, Message, Role, ToolChoice
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
    if request.json:
        body["response_format"] = {"type": "json_object"}
        if not any("json" in message.text.lower() for message in messages):
            # Without the word in the conversation, servers refuse JSON mode, or send blanks without end.
            messages = (Message(role=Role.SYSTEM, text="Answer with one JSON object."), *messages)
    body["messages"] = [_message(message) for message in messages]
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in request.tools
        ]
        required = request.tool_choice is ToolChoice.REQUIRED
        body["tool_choice"] = provider.required_tool if required else request.tool_choice.value
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


def _message(message: Message) -> Json:
    body: Json = {"role": message.role.value, "content": message.text}
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.call_id is not None:
        body["tool_call_id"] = message.call_id
    return body
