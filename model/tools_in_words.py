"""Tools for models whose chat template has no place for them: told in words, in the form of Hermes.

Source: NousResearch's Hermes function-calling prompt format, which is also that of `tool_formats`' last resort.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from model.chat import Message, Role, Tool
from model.chat_json import tool_json

_INTRODUCTION = (
    "You can call functions. Their signatures are within <tools></tools>:\n<tools>\n{tools}\n</tools>\n"
    "For each call write a JSON object with the function's name and arguments within <tool_call></tool_call>:\n"
    '<tool_call>\n{{"name": …, "arguments": {{…}}}}\n</tool_call>'
)


def spelled_out(messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[Message, ...]:
    """The same conversation without tools, calls and results: they become text, results in the user's turns."""
    told = [_in_words(message) for message in messages]
    if tools:
        listed = "\n".join(json.dumps(tool_json(tool), ensure_ascii=False) for tool in tools)
        introduction = _INTRODUCTION.format(tools=listed)
        if told and told[0].role is Role.SYSTEM:
            told[0] = Message(role=Role.SYSTEM, text=f"{told[0].text}\n\n{introduction}")
        else:
            told.insert(0, Message(role=Role.SYSTEM, text=introduction))
    return _joined(told)


def _in_words(message: Message) -> Message:
    if message.role is Role.TOOL:
        return Message(role=Role.USER, text=f"<tool_response>\n{message.text}\n</tool_response>")
    calls = [
        f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}\n</tool_call>'
        for call in message.tool_calls
    ]
    return Message(role=message.role, text="\n".join([*([message.text] if message.text else []), *calls]))


def _joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Turns of the same speaker become one: templates want speakers to alternate."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role is message.role:
            joined[-1] = Message(role=message.role, text=f"{joined[-1].text}\n{message.text}")
        else:
            joined.append(message)
    return tuple(joined)
