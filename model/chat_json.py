"""Messages and tools as the JSON that chat templates and OpenAI's protocol share. Knows no HTTP and no template."""

from __future__ import annotations

import json
from typing import Any

from model.chat import Message, Tool, ToolCall

Json = dict[str, Any]


def tool_json(tool: Tool) -> Json:
    """A tool as a function with its schema."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def message_json(message: Message, *, parsed: bool) -> Json:
    """A message. `parsed`: calls have their arguments as data, where these are an object, else as JSON text."""
    body: Json = {"role": message.role.value, "content": message.text}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments, parsed)},
            }
            for call in message.tool_calls
        ]
    if message.call_id is not None:
        body["tool_call_id"] = message.call_id
    if message.name is not None:
        body["name"] = message.name
    return body


def assistant_calls(value: Any) -> tuple[ToolCall, ...]:
    """The `tool_calls` of a message. Raises `KeyError`, `TypeError` or `AttributeError` for what is none."""
    calls = []
    for item in value or ():
        arguments = item["function"].get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        calls.append(ToolCall(str(item.get("id") or ""), str(item["function"]["name"]), text))
    return tuple(calls)


def _arguments(text: str, parsed: bool) -> Any:
    if not parsed:
        return text
    try:
        value = json.loads(text)
    except ValueError:  # as the model wrote it
        return text
    return value if isinstance(value, dict) else text
