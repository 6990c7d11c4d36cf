"""Other people's clients, by the requests that they send and the fields that they read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx
import pytest

from model.api import Chunk, FinishReason, GenerateRequest, ModelInfo, SamplingParams, Segment
from model.chat import ChatChunk, ChatRequest, Message, Role, Tool
from model.fake import FakeEngine
from model.service.app import create_app
from model.service.host import ready_host
from model.tool_formats import ToolFormat, detect
from tests.model.service.serving import serve, until

TEXT = "return left + right"
QWEN = ModelInfo(name="fake", architecture="fake", fim_family="qwen")


def client_of(engine: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(ready_host(engine, name="fake"))), base_url="http://localhost"
    )


async def post(engine: Any, path: str, body: dict[str, Any]) -> httpx.Response:
    async with client_of(engine) as client:
        return await client.post(path, json=body)


def events_of(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


# As llama.vim sends it since January 2026: `model` always, and empty unless the user names one.
LLAMA_VIM: dict[str, Any] = {
    "model": "",
    "id_slot": 0,
    "input_prefix": "def add(left, right):\n",
    "input_suffix": "\n\nadd(1, 2)\n",
    "input_extra": [{"text": "def sub(): ...\n", "time": [1, 2], "filename": "sub.py"}],
    "prompt": "    ",
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 250,
    "response_fields": [
        "content",
        "timings/prompt_n",
        "timings/prompt_ms",
        "timings/prompt_per_token_ms",
        "timings/prompt_per_second",
        "timings/predicted_n",
        "timings/predicted_ms",
        "timings/predicted_per_token_ms",
        "timings/predicted_per_second",
        "truncated",
        "tokens_cached",
    ],
}
LLAMA_VSCODE: dict[str, Any] = {
    "input_prefix": "def add(left, right):\n",
    "input_suffix": "\n",
    "input_extra": [],
    "prompt": "    ",
    "n_predict": 128,
    "n_cmpl": 3,
    "model": "a model of its own list",
    "top_k": 40,
    "top_p": 0.99,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 2500,
    "lora": [{"id": 0, "scale": 0.5}],
}


async def test_llama_vim() -> None:
    engine = FakeEngine(TEXT, info=QWEN)
    answer = (await post(engine, "/infill", LLAMA_VIM)).json()
    assert set(answer) == set(LLAMA_VIM["response_fields"])
    assert answer["content"] == TEXT
    assert answer["timings/predicted_n"] == 4
    assert answer["truncated"] is False
    [asked] = engine.requests
    assert asked == GenerateRequest(
        prompt=(
            Segment("<|file_sep|>", special=True),
            Segment("sub.py\ndef sub(): ...\n\n"),
            Segment("<|fim_prefix|>", special=True),
            Segment("def add(left, right):\n"),
            Segment("<|fim_suffix|>", special=True),
            Segment("\n\nadd(1, 2)\n"),
            Segment("<|fim_middle|>", special=True),
            Segment("    "),
        ),
        sampling=SamplingParams(max_tokens=128, top_k=40, top_p=0.9),
    )


async def test_llama_vscode() -> None:
    answer = (await post(FakeEngine(TEXT, info=QWEN), "/infill", LLAMA_VSCODE)).json()
    assert answer["content"] == TEXT
    assert answer["truncated"] is False
    assert answer["tokens_cached"] == answer["tokens_evaluated"] + answer["tokens_predicted"]
    assert set(answer["timings"]) >= {
        f"{name}_{what}" for name in ("prompt", "predicted") for what in ("n", "ms", "per_second", "per_token_ms")
    }
    assert answer["generation_settings"] == {}


PROMPTS = {
    "mistral": "[SUFFIX]\n[PREFIX]def add(left, right):\n    ",
    "deepseek": "<｜fim▁begin｜>def add(left, right):\n<｜fim▁hole｜>\n<｜fim▁end｜>    ",
    "tersely": "<issue_comment>\n<issue_start>\ndef add(left, right):\n    ",
    "none": "def add(left, right):\n    ",
}


@pytest.mark.parametrize(("family", "prompt"), PROMPTS.items())
async def test_the_line_is_the_last_of_the_prompt(family: str, prompt: str) -> None:
    engine = FakeEngine(lambda asked: asked, info=replace(QWEN, fim_family=family))
    answer = await post(engine, "/infill", LLAMA_VSCODE)
    assert answer.json()["content"] == prompt


async def test_a_request_that_only_warms_the_cache() -> None:
    engine = FakeEngine(TEXT, info=QWEN)
    body = {"input_prefix": "", "input_suffix": "", "input_extra": [], "prompt": "", "n_predict": 0, "samplers": []}
    answer = (await post(engine, "/infill", body)).json()
    assert answer["content"] == ""
    assert engine.requests[0].sampling.max_tokens == 1
    assert (await post(engine, "/infill", {"input_extra": [{"text": "x"}], "cache_prompt": True})).status_code == 200


async def test_llama_vims_ring_is_read_and_answered_with_nothing() -> None:
    engine = FakeEngine(TEXT, info=QWEN)
    body = LLAMA_VIM | {
        "prompt": "",
        "input_prefix": "",
        "input_suffix": "",
        "n_predict": 0,
        "temperature": 0.0,
        "samplers": [],
        "t_max_prompt_ms": 1,
        "t_max_predict_ms": 1,
        "response_fields": [""],
    }
    response = await post(engine, "/infill", body)
    assert (response.status_code, response.json()) == (200, {})
    assert Segment("sub.py\ndef sub(): ...\n\n") in engine.requests[0].prompt


async def test_streamed_infill() -> None:
    response = await post(FakeEngine(TEXT, info=QWEN), "/infill", LLAMA_VSCODE | {"stream": True})
    *pieces, last = events_of(response)
    assert "".join(piece["content"] for piece in pieces) == TEXT
    assert not any(piece["stop"] for piece in pieces)
    assert (last["stop"], last["content"], last["stop_type"]) == (True, "", "eos")
    assert last["timings"]["predicted_n"] == 4


class Letters(FakeEngine):
    """One letter a token, so that blanks come alone."""

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        async with aclosing(super().generate(request)) as chunks:
            async for chunk in chunks:
                for letter in chunk.text:
                    yield replace(chunk, text=letter, finish_reason=None)
                if chunk.finish_reason is not None:
                    yield chunk


async def test_nothing_is_lost_where_nothing_is_indented_less() -> None:
    text = "a\n        b\n\n    c  \n"
    answer = await post(Letters(text, info=QWEN), "/infill", LLAMA_VSCODE | {"n_indent": 4})
    assert answer.json()["content"] == text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("end", ["\n", "\n\n"])
async def test_lines_that_are_indented_less_end_it(stream: bool, end: str) -> None:
    engine = Letters(f"a = 1\n    b = 2{end}  x = 3\n    c", info=QWEN)
    response = await post(engine, "/infill", LLAMA_VSCODE | {"n_indent": 4, "stream": stream})
    bodies = events_of(response) if stream else [response.json()]
    assert "".join(body["content"] for body in bodies) == f"a = 1\n    b = 2{end[1:]}"
    assert bodies[-1]["has_new_line"] is True
    assert engine.cancelled == 1


async def test_the_time_is_up_once_there_is_a_line() -> None:
    engine = FakeEngine("a\nb c d e f g h", token_delay_s=0.02, info=QWEN)
    answer = (await post(engine, "/infill", LLAMA_VSCODE | {"t_max_predict_ms": 1})).json()
    assert answer["content"] == "a\nb"
    assert answer["stop_type"] == "limit"
    assert engine.cancelled == 1


async def test_a_client_that_goes_stops_the_generation() -> None:
    engine = FakeEngine("a " * 1000, token_delay_s=0.01, info=QWEN)
    async with serve(create_app(ready_host(engine, name="fake"))) as url, httpx.AsyncClient(base_url=url) as client:
        asking = asyncio.create_task(client.post("/infill", json=LLAMA_VSCODE))
        await until(lambda: engine.requests)
        asking.cancel()
        await until(lambda: engine.cancelled)


BAD_INFILLS: dict[str, dict[str, Any]] = {
    "n_predict": {"n_predict": "many"},
    "input_extra": {"input_extra": {"a": 1}},
    "`text`": {"input_extra": [{"filename": "x"}]},
    "prompt": {"prompt": [1, 2]},
    "response_fields": {"response_fields": "content"},
}


@pytest.mark.parametrize(("named", "body"), BAD_INFILLS.items(), ids=BAD_INFILLS)
async def test_bad_infills_are_named(named: str, body: dict[str, Any]) -> None:
    response = await post(FakeEngine(TEXT), "/infill", body)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


# Continue: chat through the provider `openai`, holes through `mistral`, each with `apiBase` …/v1/.
CONTINUE_CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say"}, {"type": "text", "text": " hi."}]},
    ],
    "model": "fake",
    "max_tokens": 64,
    "temperature": 0.5,
    "stream": True,
    "stop": ["```\n"],
}
CONTINUE_FIM: dict[str, Any] = {
    "model": "fake",
    "prompt": "def add(",
    "suffix": "\n",
    "max_tokens": 64,
    "max_completion_tokens": None,
    "top_p": None,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "temperature": 0.01,
    "stop": ["[PREFIX]", "\n\n"],
    "stream": True,
}


class Talker(FakeEngine):
    """A fake whose prompts are conversations written down."""

    async def tool_format(self) -> ToolFormat:
        return detect(())

    async def chat_prompt(self, messages: tuple[Message, ...], tools: tuple[Tool, ...] = ()) -> tuple[Segment, ...]:
        return tuple(Segment(f"{message.role}: {message.text}\n") for message in messages)


async def test_continue_converses() -> None:
    engine = Talker("Hi there")
    response = await post(engine, "/v1/chat/completions", CONTINUE_CHAT)
    *chunks, done = events_of(response)
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == "Hi there"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert engine.requests[0] == GenerateRequest(
        prompt=(Segment("system: Be brief.\n"), Segment("user: Say hi.\n")),
        sampling=SamplingParams(max_tokens=64, temperature=0.5, stop=("```\n",)),
    )


async def test_continue_fills_holes() -> None:
    engine = FakeEngine("a, b):", info=QWEN)
    *chunks, done = events_of(await post(engine, "/v1/fim/completions", CONTINUE_FIM))
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == "a, b):"
    assert chunks[-1]["usage"]["completion_tokens"] == 5
    assert [part.text for part in engine.requests[0].prompt if isinstance(part, Segment)] == [
        "<|fim_prefix|>",
        "def add(",
        "<|fim_suffix|>",
        "\n",
        "<|fim_middle|>",
    ]


LLAMA_VIM_INSTRUCTION: dict[str, Any] = {
    "id_slot": 7,
    "model": "",
    "messages": [{"role": "system", "content": "Edit."}, {"role": "user", "content": "Say hi."}],
    "min_p": 0.1,
    "temperature": 0.1,
    "samplers": ["min_p", "temperature"],
    "stream": True,
    "cache_prompt": True,
}


async def test_llama_vims_instruction() -> None:
    engine = Talker("Hi there")
    *chunks, done = events_of(await post(engine, "/v1/chat/completions", LLAMA_VIM_INSTRUCTION))
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "Hi there"
    # While the user still writes the instruction, the prompt is read ahead.
    ahead = {"samplers": [], "n_predict": 0, "stream": False, "response_fields": [""]}
    assert (await post(engine, "/v1/chat/completions", LLAMA_VIM_INSTRUCTION | ahead)).status_code == 200
    assert engine.requests[-1].prompt == engine.requests[0].prompt
    assert engine.requests[-1].sampling.max_tokens == 1


async def test_llama_vscodes_conversation() -> None:
    body = {
        "messages": [{"role": "user", "content": "Say hi."}],
        "stream": False,
        "cache_prompt": True,
        "samplers": "edkypmxt",
        "temperature": 0.8,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "max_tokens": -1,
    }
    answer = (await post(Talker("Hi"), "/v1/chat/completions", body)).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hi"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 1


async def test_counts_come_last_when_asked_for() -> None:
    body = CONTINUE_CHAT | {"stream_options": {"include_usage": True}}
    *_, last, usage, done = events_of(await post(Talker("Hi there"), "/v1/chat/completions", body))
    assert done == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 2


class Host(FakeEngine):
    """A fake that converses itself, as hosted models do."""

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        self.asked = request
        yield ChatChunk(text="Hi")
        yield ChatChunk(finish_reason=FinishReason.STOP)


async def test_an_engine_that_converses_itself() -> None:
    engine = Host("")
    answer = (await post(engine, "/v1/chat/completions", CONTINUE_CHAT | {"stream": False})).json()
    assert answer["choices"][0]["message"]["content"] == "Hi"
    assert engine.asked.messages[0] == Message(role=Role.SYSTEM, text="Be brief.")


async def test_a_model_that_only_continues() -> None:
    response = await post(FakeEngine("x"), "/v1/chat/completions", CONTINUE_CHAT)
    assert response.status_code == 400
    assert "/v1/completions" in response.json()["error"]["hint"]


BAD_CHATS: dict[str, dict[str, Any]] = {
    "`messages` is missing": {"messages": None},
    "not empty": {"messages": []},
    "role": {"messages": [{"role": "robot", "content": "x"}]},
    "pictures": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    "`functions` is the older way": {"functions": [{"name": "f"}]},
    "result of a tool": {"messages": [{"role": "tool", "content": "x"}]},
    "`response_format`": {"response_format": {"type": "xml"}},
    "logprobs": {"logprobs": True},
    "`n`": {"n": 2},
    "is not served": {"model": "other"},
}


@pytest.mark.parametrize(("named", "changes"), BAD_CHATS.items(), ids=BAD_CHATS)
async def test_bad_conversations_are_named(named: str, changes: dict[str, Any]) -> None:
    response = await post(Talker("x"), "/v1/chat/completions", CONTINUE_CHAT | changes)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


async def test_a_hole_needs_a_prompt() -> None:
    response = await post(FakeEngine("x"), "/v1/fim/completions", {"suffix": "x"})
    assert response.status_code == 400
    assert "`prompt` is missing" in response.json()["error"]["message"]


class Broken(FakeEngine):
    """Fails within its answer."""

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        yield Chunk(text="x")
        raise RuntimeError("secret")


@pytest.mark.parametrize(("path", "body"), [("/infill", LLAMA_VSCODE), ("/v1/fim/completions", CONTINUE_FIM)])
async def test_failures_within_a_stream_are_told(path: str, body: dict[str, Any]) -> None:
    response = await post(Broken("", info=QWEN), path, body | {"stream": True})
    errors = [event["error"] for event in events_of(response) if event != "[DONE]" and "error" in event]
    assert [error["type"] for error in errors] == ["server_error"]
    assert "secret" not in response.text
