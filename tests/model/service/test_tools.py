"""Tools and formats of answers over HTTP: random weights behind the real engine, and OpenAI's shapes before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import torch

from model.api import Priority, SamplingParams
from model.chat import ChatRequest, Chatting, Message, Role, Tool, ToolCall, ToolChoice
from model.chat_template import ChatTemplate
from model.checkpoint.gguf import GgufFile
from model.load import Quantize, load_served
from model.local import LocalEngine
from model.remote import HttpEngine
from model.service.app import create_app
from model.service.chat_call import parse_chat
from model.service.host import ready_host
from model.tokenizer import read_tokenizer
from tests.model.service.serving import serve
from tests.model.service.test_clients import Talker, events_of

SOURCE = (
    "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}<tool_call>{% for message in messages %}"
    "{{ message.role }}:{{ message.content }}{% for call in message.tool_calls or [] %}"
    "{{ call.function.name }}{{ call.function.arguments | tojson }}{% endfor %}<|im_end|>{% endfor %}"
)
SCHEMA = {
    "type": "object",
    "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 9}, "unit": {"enum": ["c", "f"]}},
    "required": ["days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "the", "description": "d", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "int", "parameters": {"type": "object", "additionalProperties": False}}},
]
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "the int"}], "temperature": 0, "max_tokens": 120}


@pytest.fixture
async def engine(tiny_path: Path) -> AsyncIterator[LocalEngine]:
    with GgufFile(tiny_path) as file:
        served, tokenizer = load_served(file, dtype=torch.float32, quantize=Quantize.NONE), read_tokenizer(file)
    template = ChatTemplate(SOURCE, control_tokens=tokenizer.control_names)
    engine = LocalEngine(served, tokenizer, name="tiny", template=lambda: template)
    yield engine
    await engine.aclose()


@pytest.fixture
async def client(engine: LocalEngine) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(ready_host(engine, name="tiny"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60) as client:
        yield client


async def ask(client: httpx.AsyncClient, **fields: Any) -> Any:
    response = await client.post("/v1/chat/completions", json=ASKED | fields)
    assert response.status_code == 200, response.text
    [choice] = response.json()["choices"]
    return choice


def check(call: Any, *names: str) -> None:
    assert call["type"] == "function"
    assert call["id"]
    assert call["function"]["name"] in names
    schema = next(
        tool["function"]["parameters"] for tool in TOOLS if tool["function"]["name"] == call["function"]["name"]
    )
    jsonschema.validate(json.loads(call["function"]["arguments"]), schema)


async def test_a_tool_that_must_be_called_is(client: httpx.AsyncClient) -> None:
    choice = await ask(client, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    [call] = choice["message"]["tool_calls"]
    check(call, "the", "int")


@pytest.mark.parametrize("name", ["the", "int"])
async def test_the_tool_that_is_named_is_called(client: httpx.AsyncClient, name: str) -> None:
    named = {"type": "function", "function": {"name": name}}
    choice = await ask(client, tools=TOOLS, tool_choice=named, parallel_tool_calls=False)
    check(choice["message"]["tool_calls"][0], name)


async def test_no_tool_is_called_where_none_may_be(client: httpx.AsyncClient) -> None:
    choice = await ask(client, tools=TOOLS, tool_choice="none", max_tokens=5)
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] in ("stop", "length")


async def test_calls_are_streamed_whole(client: httpx.AsyncClient) -> None:
    body = ASKED | {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False, "stream": True}
    *events, done = events_of(await client.post("/v1/chat/completions", json=body))
    assert done == "[DONE]"
    deltas = [event["choices"][0]["delta"] for event in events]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [call["index"] for call in calls] == list(range(len(calls))) == [0]
    check(calls[0], "the", "int")
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    whole = await ask(client, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    assert calls[0]["function"] == whole["message"]["tool_calls"][0]["function"]


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        {"structured_outputs": {"json": SCHEMA}},
        {"guided_json": SCHEMA},
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_an_answer_fits_the_schema(client: httpx.AsyncClient, form: dict[str, Any], path: str) -> None:
    body = (ASKED if "chat" in path else {"prompt": "the int", "max_tokens": 120, "temperature": 0}) | form
    [choice] = (await client.post(path, json=body)).json()["choices"]
    assert choice["finish_reason"] == "stop"
    jsonschema.validate(json.loads(choice["text"] if "text" in choice else choice["message"]["content"]), SCHEMA)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "retrieval"}]}, "`tools` must hold objects"),
    ({"tools": [*TOOLS, TOOLS[0]]}, "`tools` must have names that differ"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "`tools` must have names of letters"),
    ({"tools": [{"type": "function", "function": {"name": "a", "parameters": 1}}]}, "`tools` must have `parameters`"),
    ({"tools": TOOLS, "tool_choice": "sometimes"}, "`tool_choice` must be"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "float"}}}, "no tool named 'float'"),
    ({"tool_choice": "required"}, "there is none"),
    ({"functions": TOOLS}, "`functions` is the older way"),
    ({"tools": TOOLS, "response_format": {"type": "json_object"}}, "cannot be held to a format"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "objct"}}}}, "cannot be followed"),
    (
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "objct"}}}]},
        "cannot be followed",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "`messages` must have a `tool_call_id`"),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "`messages` must have calls"),
]


@pytest.mark.parametrize(("fields", "complaint"), WRONG)
async def test_what_is_wrong_is_named(client: httpx.AsyncClient, fields: dict[str, Any], complaint: str) -> None:
    response = await client.post("/v1/chat/completions", json=ASKED | fields)
    assert response.status_code == 400
    assert complaint in response.json()["error"]["message"]


TALK = (
    Message(role=Role.USER, text="hi"),
    Message(role=Role.ASSISTANT, tool_calls=(ToolCall("a1", "the", '{"days": 2}'),)),
    Message(role=Role.TOOL, text="ok", call_id="a1", name="the"),
)


def test_a_conversation_with_calls_is_read() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a1", "type": "function", "function": {"name": "the", "arguments": '{"days": 2}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "a1", "name": "the", "content": "ok"},
        ],
        "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "the"}},
        "parallel_tool_calls": False,
        "priority": "batch",
    }
    request = parse_chat(body).request
    assert request.messages == TALK
    assert [tool.name for tool in request.tools] == ["the", "int"]
    assert (request.tool_choice, request.tool_name, request.parallel) == (ToolChoice.REQUIRED, "the", False)
    assert request.priority is Priority.BATCH


async def test_a_conversation_goes_through_the_whole_stack(engine: LocalEngine, tmp_path: Path) -> None:
    tools = tuple(
        Tool(
            name=tool["function"]["name"],
            description=tool["function"].get("description", ""),
            parameters=tool["function"]["parameters"],
        )
        for tool in TOOLS
    )
    sampling = SamplingParams(max_tokens=120)
    request = ChatRequest(
        messages=TALK, tools=tools, tool_choice=ToolChoice.REQUIRED, parallel=False, sampling=sampling
    )
    [*_, here] = [chunk async for chunk in engine.chat(request)]
    async with serve(create_app(ready_host(engine, name="tiny"))) as url:
        remote = HttpEngine(url)
        assert isinstance(remote, Chatting)
        [*_, there] = [chunk async for chunk in remote.chat(request)]
        await remote.aclose()
    [call] = there.tool_calls
    check(
        {"type": "function", "id": call.call_id, "function": {"name": call.name, "arguments": call.arguments}},
        "the",
        "int",
    )
    assert there.usage is not None
    assert here.usage is not None
    assert there.usage.completion_tokens == here.usage.completion_tokens > 0


async def test_an_interactive_request_overtakes_a_conversation_of_a_batch(client: httpx.AsyncClient) -> None:
    ended: list[str] = []

    async def batch() -> None:
        await ask(client, priority="batch", guided_regex="[a-z]{90}", tools=[])
        ended.append("batch")

    async def interactive() -> None:
        body = {"prompt": "the int", "max_tokens": 8, "priority": "interactive", "guided_regex": "[a-z]{8}"}
        assert (await client.post("/v1/completions", json=body)).status_code == 200
        ended.append("interactive")

    await asyncio.gather(batch(), interactive(), interactive())
    assert ended == ["interactive", "interactive", "batch"]


async def test_the_priority_of_a_conversation_reaches_the_engine() -> None:
    engine = Talker("Hi")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(ready_host(engine, name="fake"))), base_url="http://localhost"
    ) as client:
        for priority in ("batch", "interactive"):
            await client.post("/v1/chat/completions", json=ASKED | {"priority": priority})
    assert [request.priority for request in engine.requests] == [Priority.BATCH, Priority.INTERACTIVE]
