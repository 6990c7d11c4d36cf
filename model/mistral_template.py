"""Mistral's own conversation formats, v1 to v13, for checkpoints that bring a tokenizer of theirs and no template.

Source: mistral-common, `tokens/tokenizers/instruct.py`; token ids equal its own (a test holds them so). What people
wrote is text, never a control token, since both are segments here.

| version | told of tools | system text | a call | its result |
|---|---|---|---|---|
| v1 | in words | before the first turn | | |
| v2 | last user turn | before the last user turn | JSON list | JSON list; both only behind the last user turn |
| v3 | last user turn | before the last user turn | JSON list, with ids | JSON object with the id |
| v7 | last user turn | between tokens of its own | JSON list, with ids | id, text |
| v11 | last user turn | between tokens of its own | name, id, JSON | id, text |
| v13 | first user turn | between tokens of its own | name, JSON | text |
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any

from model.api import Segment
from model.chat import Message, Role, Tool, ToolCall
from model.chat_json import tool_json
from model.chat_template import ChatTemplate
from model.errors import RequestError
from model.tools_in_words import spelled_out

VERSIONS = (1, 2, 3, 7, 11, 13)
_BETWEEN = "\n\n"


class MistralTemplate(ChatTemplate):
    """One version. `source` names the tokens of its calls, by which the tool format is told from others."""

    def __init__(self, version: int, *, control_tokens: Collection[str]) -> None:
        marks = "" if version < 11 else "[CALL_ID][ARGS]" if version == 11 else "[ARGS]"
        tools = "" if version == 1 else f" tools [TOOL_CALLS]{marks}"
        super().__init__(f"Mistral v{version}{tools}", control_tokens=control_tokens, bos="<s>", eos="</s>")
        self.version = version

    def render(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> tuple[Segment, ...]:
        """The prompt whose continuation is the next answer. Raises `RequestError` where nobody asks anything."""
        if self.version == 1 and (tools or any(one.tool_calls or one.role is Role.TOOL for one in messages)):
            messages, tools = spelled_out(messages, tools), ()
        turns = list(_joined(messages))
        asked = [place for place, one in enumerate(turns) if one.role is Role.USER]
        if not asked:
            raise RequestError(
                "The conversation has no turn of a user, which the model's format wants.", hint="Send one."
            )
        parts = [_token("<s>")]
        system = _BETWEEN.join(one.text for one in turns if one.role is Role.SYSTEM)
        for place, turn in enumerate(turns):
            if turn.role is Role.USER:
                told = asked[0] if self.version == 13 else asked[-1]
                before = system if self.version < 7 and place == (asked[0] if self.version == 1 else asked[-1]) else ""
                parts += self._user(turn.text, before, tools if place == told else ())
            elif turn.role is Role.SYSTEM and self.version >= 7:
                parts += [_token("[SYSTEM_PROMPT]"), Segment(turn.text), _token("[/SYSTEM_PROMPT]")]
            elif turn.role is Role.ASSISTANT:
                parts += self._assistant(turn, answered=place < asked[-1])
            elif turn.role is Role.TOOL:
                parts += self._result(turn, answered=place < asked[-1])
        return tuple(part for part in parts if part.text)

    def _user(self, text: str, system: str, tools: Sequence[Tool]) -> list[Segment]:
        text = f"{system}{_BETWEEN}{text}" if system else text
        if self.version == 1:
            return [Segment(f"[INST] {text} [/INST]")]
        turn = [_token("[INST]"), Segment(text), _token("[/INST]")]
        if not tools:
            return turn
        listed = Segment(_json([tool_json(tool) for tool in tools]))
        return [_token("[AVAILABLE_TOOLS]"), listed, _token("[/AVAILABLE_TOOLS]"), *turn]

    def _assistant(self, turn: Message, *, answered: bool) -> list[Segment]:
        if self.version == 1:  # no token stands between the turns, but each is a text of its own
            return [Segment(turn.text), _token("</s>")]
        if self.version == 2 and turn.tool_calls and answered:
            return []
        return [Segment(turn.text.rstrip(" ")), *self._calls(turn.tool_calls), _token("</s>")]

    def _calls(self, calls: Sequence[ToolCall]) -> list[Segment]:
        if not calls:
            return []
        if self.version < 11:
            return [_token("[TOOL_CALLS]"), Segment(_json([self._call(call) for call in calls]))]
        parts = []
        for call in calls:
            identity = [_token("[CALL_ID]"), Segment(call.call_id)] if self.version == 11 and call.call_id else []
            arguments = Segment(_json(_data(call.arguments)))
            parts += [_token("[TOOL_CALLS]"), Segment(call.name), *identity, _token("[ARGS]"), arguments]
        return parts

    def _call(self, call: ToolCall) -> dict[str, Any]:
        body = {"name": call.name, "arguments": _data(call.arguments)}
        return body | ({"id": call.call_id} if self.version > 2 and call.call_id else {})

    def _result(self, turn: Message, *, answered: bool) -> list[Segment]:
        if self.version == 2 and answered:
            return []
        if self.version == 2:
            told = [Segment(_json([{"name": turn.name, "content": _data(turn.text)}]))]
        elif self.version == 3:
            told = [Segment(_json({"content": _data(turn.text), "call_id": turn.call_id}))]
        elif self.version < 13:
            told = [Segment(turn.call_id or ""), _token("[TOOL_CONTENT]"), Segment(turn.text)]
        else:
            told = [Segment(turn.text)]
        return [_token("[TOOL_RESULTS]"), *told, _token("[/TOOL_RESULTS]")]


def _joined(messages: Sequence[Message]) -> Iterator[Message]:
    """Turns of a user that follow each other become one; so do texts of the assistant."""
    for role, group in groupby(messages, key=lambda one: one.role):
        turns = list(group)
        if role in (Role.SYSTEM, Role.TOOL):
            yield from turns
            continue
        calls = tuple(call for one in turns for call in one.tool_calls)
        yield Message(role=role, text=_BETWEEN.join(one.text for one in turns if one.text), tool_calls=calls)


def _token(name: str) -> Segment:
    return Segment(name, special=True)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _data(text: str) -> Any:
    """JSON as data, and what is none as the text that it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
