"""What hosted models are sent of a conversation's wishes: which tool, how many, in which format."""

from __future__ import annotations

from typing import Any

import pytest

from model.api import Grammar, GrammarKind, SamplingParams
from model.chat import ChatRequest, Message, Role, Tool, ToolChoice
from model.errors import RequestError
from model.grammars import of_schema
from model.hosted.address import parse_hosted
from model.hosted.body import chat_body

TOOLS = (Tool(name="f", description="d", parameters={"type": "object"}),)


def body(spelling: str = "openai:m", **fields: Any) -> dict[str, Any]:
    request = ChatRequest(messages=(Message(role=Role.USER, text="hi"),), **fields)
    return chat_body(parse_hosted(spelling), request)


@pytest.mark.parametrize("spelling", ["openai:m", "mistral/chat:m"])
def test_one_tool_by_name(spelling: str) -> None:
    asked = body(spelling, tools=TOOLS, tool_choice=ToolChoice.REQUIRED, tool_name="f", parallel=False)
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert asked["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in body(spelling, tools=TOOLS)


@pytest.mark.parametrize("lenient", [True, False])
def test_a_schema_is_a_structured_output(lenient: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    asked = body(sampling=SamplingParams(grammar=of_schema(schema, lenient=lenient)))
    assert asked["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": not lenient},
    }


def test_other_grammars_are_refused() -> None:
    with pytest.raises(RequestError, match="JSON schemas only") as caught:
        body(sampling=SamplingParams(grammar=Grammar(kind=GrammarKind.REGEX, text="a+")))
    assert caught.value.hint
