"""The hosted engine against a local server that plays the providers' published shapes, refusals and slow streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model import fim
from model.api import Chunk, Engine, FinishReason, GenerateRequest, ModelInfo, SamplingParams, Usage
from model.chat import ChatChunk, ChatRequest, Chatting, Message, Role, Tool, ToolCall, ToolChoice
from model.errors import (
    EngineAuthError,
    EngineBusyError,
    EngineError,
    EngineUnavailableError,
    EngineUnreachableError,
    RequestError,
)
from model.fake import FakeEngine
from model.hosted.accounting import Ledger, Price, read_totals
from model.hosted.address import parse_hosted
from model.hosted.client import HostedClient
from model.hosted.engine import HostedEngine
from model.hosted.hole import FAMILY
from model.hosted.instruction import SYSTEM
from model.hosted.keys import Key
from model.hosted.limits import Limits
from model.remote import HttpEngine
from model.service.app import create_app
from model.service.host import ready_host
from tests.model.hosted.playing import USAGE, Json, Player, Refusal
from tests.model.service.serving import serve, until

SECRET = "sk-very-secret-1"
PROMPT = fim.render(FAMILY, prefix="def add(a, b):\n    return ", suffix="\n\nadd(1, 2)\n", path="calc.py")
PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\nadd(1, 2)\n"
SAMPLING = SamplingParams(max_tokens=9, temperature=0.5, top_p=0.9, seed=4, stop=("\n\n",), logprobs=0)
HOLE = GenerateRequest(prompt=PROMPT, sampling=SAMPLING)
COUNTED = Usage(prompt_tokens=30, cached_tokens=0, completion_tokens=3)


class Patience:
    """Waits for nothing, and notes how long it was asked to."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits_s.append(seconds)


@contextlib.asynccontextmanager
async def engine_of(
    player: Player, spelling: str, tmp_path: Path, *, limits: Limits | None = None, patience: Patience | None = None
) -> AsyncIterator[HostedEngine]:
    """The engine for `spelling`, at the player's address."""
    async with serve(player.app()) as url:
        model = parse_hosted(f"{spelling}@{url}")
        client = HostedClient(model, Key(SECRET), limits=limits, sleep=patience or Patience())
        prices = {model.name: Price(input=1.0, output=2.0)}
        engine = HostedEngine(model, client, Ledger(tmp_path / "usage.jsonl", prices))
        try:
            yield engine
        finally:
            await engine.aclose()


async def collect(engine: Engine, request: GenerateRequest = HOLE) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


COMPLETIONS: dict[str, tuple[str, str, str, Json]] = {
    "mistral": (
        "mistral:codestral-latest",
        "/v1/fim/completions",
        "authorization",
        {
            "model": "codestral-latest",
            "prompt": PREFIX,
            "suffix": SUFFIX,
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "random_seed": 4,
            "stop": ["\n\n"],
            "stream": True,
        },
    ),
    "deepseek": (
        "deepseek:deepseek-chat",
        "/beta/completions",
        "authorization",
        {
            "model": "deepseek-chat",
            "prompt": PREFIX,
            "suffix": SUFFIX,
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 4,
            "stop": ["\n\n"],
            "logprobs": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    "openai": (
        "openai/completions:gpt-3.5-turbo-instruct",
        "/v1/completions",
        "authorization",
        {
            "model": "gpt-3.5-turbo-instruct",
            "prompt": PREFIX,
            "suffix": SUFFIX,
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 4,
            "stop": ["\n\n"],
            "logprobs": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    "azure": (
        "azure/completions:dep",
        "/openai/deployments/dep/completions?api-version=2024-10-21",
        "api-key",
        {
            "model": "dep",
            "prompt": PREFIX,
            "suffix": SUFFIX,
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 4,
            "stop": ["\n\n"],
            "logprobs": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
}


@pytest.mark.parametrize(("spelling", "path", "header", "body"), COMPLETIONS.values(), ids=COMPLETIONS)
async def test_a_hole_goes_out_in_its_parts(spelling: str, path: str, header: str, body: Json, tmp_path: Path) -> None:
    player = Player()
    async with engine_of(player, spelling, tmp_path) as engine:
        *texts, last = await collect(engine)
    [(asked, headers, sent)] = player.requests
    assert (asked, sent) == (path, body)
    assert headers[header] == (SECRET if header == "api-key" else f"Bearer {SECRET}")
    assert "".join(chunk.text for chunk in texts) == "a + b"
    assert all(chunk.finish_reason is None for chunk in texts)
    assert (last.finish_reason, last.usage) == (FinishReason.STOP, COUNTED)
    assert last.timings is not None


async def test_snippets_stand_under_their_paths(tmp_path: Path) -> None:
    prompt = fim.render(FAMILY, prefix="P", suffix="", path="a.py", snippets=[fim.Snippet("b.py", "B")])
    for spelling, expected in (
        ("mistral:m", "+++++ b.py\nB\n+++++ a.py\nP"),
        ("deepseek:m", "#b.py\nB\n#a.py\nP"),
    ):
        player = Player()
        async with engine_of(player, spelling, tmp_path) as engine:
            await collect(engine, GenerateRequest(prompt=prompt))
        assert player.requests[0][2]["prompt"] == expected
        assert "suffix" not in player.requests[0][2]


@pytest.mark.parametrize(
    ("spelling", "limit"),
    [("mistral/chat:m", "max_tokens"), ("azure:m", "max_completion_tokens"), ("compatible:m", "max_tokens")],
)
async def test_a_model_that_converses_gets_an_instruction(spelling: str, limit: str, tmp_path: Path) -> None:
    player = Player(pieces=("``", "`python\n", "a +", " b\n", "```", "\nDone."))
    async with engine_of(player, spelling, tmp_path) as engine:
        chunks = await collect(engine, GenerateRequest(prompt=PROMPT, sampling=SamplingParams(max_tokens=9)))
    assert "".join(chunk.text for chunk in chunks) == "a + b"
    assert chunks[-1].finish_reason is FinishReason.STOP
    body = player.requests[0][2]
    assert body[limit] == 9
    assert body["messages"] == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"calc.py, with the mark <<CURSOR>>:\n{PREFIX}<<CURSOR>>{SUFFIX}"},
    ]


async def test_more_stops_than_the_server_takes_hold_nevertheless(tmp_path: Path) -> None:
    stops = ("1", "2", "3", "4", "+")
    player = Player()
    async with engine_of(player, "openai/completions:m", tmp_path) as engine:
        chunks = await collect(engine, GenerateRequest(prompt="x", sampling=SamplingParams(stop=stops)))
        assert "".join(chunk.text for chunk in chunks) == "a "
        assert chunks[-1].finish_reason is FinishReason.STOP
    assert player.requests[0][2]["stop"] == ["1", "2", "3", "4"]


async def test_length(tmp_path: Path) -> None:
    async with engine_of(Player(finish="length"), "mistral:m", tmp_path) as engine:
        assert (await collect(engine))[-1].finish_reason is FinishReason.LENGTH


async def test_what_deepseek_had_cached_is_told(tmp_path: Path) -> None:
    player = Player(usage=USAGE | {"prompt_cache_hit_tokens": 20})
    async with engine_of(player, "deepseek:m", tmp_path) as engine:
        last = (await collect(engine))[-1]
    assert last.usage == replace(COUNTED, cached_tokens=20)


REFUSALS: dict[str, tuple[Refusal, type[EngineError]]] = {
    "openai 401": (
        Refusal(status=401, body={"error": {"message": f"Incorrect API key provided: {SECRET}.", "type": "x"}}),
        EngineAuthError,
    ),
    "mistral 401": (Refusal(status=401, body={"detail": "Unauthorized"}), EngineAuthError),
    "deepseek 402": (Refusal(status=402, body={"error": {"message": "Insufficient Balance"}}), RequestError),
    "azure 404": (
        Refusal(status=404, body={"error": {"code": "DeploymentNotFound", "message": "The API deployment ..."}}),
        RequestError,
    ),
    "mistral 400": (
        Refusal(status=400, body={"object": "error", "message": "Invalid model: m", "code": "1500", "type": "x"}),
        RequestError,
    ),
    "mistral 422": (
        Refusal(status=422, body={"detail": [{"loc": ["body", "x"], "msg": "Extra inputs"}]}),
        RequestError,
    ),
    "no JSON": (Refusal(status=400, body="<html>"), RequestError),
    "a redirect": (
        Refusal(status=307, body={}, headers={"location": "http://evil.example.com"}),
        EngineUnavailableError,
    ),
}


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS.values(), ids=REFUSALS)
async def test_refusals(
    refusal: Refusal, kind: type[EngineError], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    player = Player(refusals=[refusal])
    with caplog.at_level(logging.DEBUG):
        async with engine_of(player, "mistral:m", tmp_path) as engine:
            with pytest.raises(kind) as caught:
                await collect(engine)
    assert len(player.requests) == 1
    assert caught.value.hint
    assert SECRET not in f"{caught.value}{caught.value!r}{caught.value.__cause__!r}{caplog.text}{vars(engine)}"
    assert not (tmp_path / "usage.jsonl").exists()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(status: int, tmp_path: Path) -> None:
    player = Player(refusals=[Refusal(status=status, body={}) for _ in range(2)])
    patience = Patience()
    async with engine_of(player, "mistral:m", tmp_path, patience=patience) as engine:
        chunks = await collect(engine)
    assert "".join(chunk.text for chunk in chunks) == "a + b"
    first, second = patience.waits_s
    assert 0.25 <= first <= 0.5 <= second <= 1.0


@pytest.mark.parametrize(("status", "kind"), [(429, EngineBusyError), (503, EngineUnavailableError)])
async def test_patience_ends(status: int, kind: type[EngineError], tmp_path: Path) -> None:
    player = Player(refusals=[Refusal(status=status, body={"message": "no"}) for _ in range(9)])
    async with engine_of(player, "mistral:m", tmp_path) as engine:
        with pytest.raises(kind):
            await collect(engine)
    assert len(player.requests) == Limits().tries


async def test_a_pause_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    player = Player(refusals=[Refusal(status=429, body={}, headers={"Retry-After": "3"})])
    patience = Patience()
    async with engine_of(player, "mistral:m", tmp_path, patience=patience) as engine:
        await collect(engine)
    assert patience.waits_s == [3.0]


async def test_a_long_pause_holds_for_all_requests(tmp_path: Path) -> None:
    player = Player(refusals=[Refusal(status=429, body={}, headers={"Retry-After": "600"})])
    async with engine_of(player, "mistral:m", tmp_path) as engine:
        with pytest.raises(EngineBusyError, match="600 s"):
            await collect(engine)
        with pytest.raises(EngineBusyError, match="pause"):
            await collect(engine)
    assert len(player.requests) == 1


async def test_closing_a_stream_closes_the_connection_and_is_accounted_for(tmp_path: Path) -> None:
    player = Player(pieces=("x",) * 1000, delay_s=0.01)
    async with engine_of(player, "mistral:m", tmp_path) as engine:
        stream = engine.generate(HOLE)
        await anext(stream)
        await stream.aclose()
        await until(lambda: player.left)
    entry = json.loads((tmp_path / "usage.jsonl").read_text())
    assert (entry["end"], entry["estimated"]) == ("closed", True)
    assert entry["prompt_tokens"] > 5


async def test_cancelling_the_reader_closes_the_connection(tmp_path: Path) -> None:
    player = Player(pieces=("x",) * 1000, delay_s=0.01)
    async with engine_of(player, "openai:m", tmp_path) as engine:
        reader = asyncio.create_task(collect(engine))
        await until(lambda: player.requests)
        await asyncio.sleep(0.05)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await until(lambda: player.left)


async def test_keys_in_quick_succession_send_the_last_alone(tmp_path: Path) -> None:
    player = Player()
    async with serve(player.app()) as url:
        model = parse_hosted(f"mistral:m@{url}")
        engine = HostedEngine(model, HostedClient(model, None), Ledger(tmp_path / "u", {}), settle_s=0.05)
        for _ in range(3):
            superseded = asyncio.create_task(collect(engine))
            await asyncio.sleep(0)
            superseded.cancel()
            await asyncio.wait({superseded})
        assert (await collect(engine))[-1].finish_reason is FinishReason.STOP
        await engine.aclose()
    assert len(player.requests) == 1


async def test_every_request_is_priced(tmp_path: Path) -> None:
    async with engine_of(Player(), "mistral:m", tmp_path) as engine:
        await collect(engine)
        await collect(engine)
    assert str(read_totals(tmp_path / "usage.jsonl")) == "2 requests, 66 tokens, 0.0001 USD"
    text = (tmp_path / "usage.jsonl").read_text()
    assert "add" not in text
    assert SECRET not in text


SLOW: dict[str, tuple[Limits, float]] = {
    "between pieces": (Limits(between_s=0.05), 5.0),
    "in all": (Limits(total_s=0.2), 0.05),
}


@pytest.mark.parametrize(("limits", "delay_s"), SLOW.values(), ids=SLOW)
async def test_slow_streams_end(limits: Limits, delay_s: float, tmp_path: Path) -> None:
    player = Player(pieces=("x",) * 100, delay_s=delay_s)
    async with engine_of(player, "mistral:m", tmp_path, limits=limits) as engine:
        with pytest.raises(EngineUnavailableError, match="in time"):
            await collect(engine)
        await until(lambda: player.left)


async def test_a_stream_that_breaks_off_is_no_answer(tmp_path: Path) -> None:
    async with engine_of(Player(cut=True), "mistral:m", tmp_path) as engine:
        with pytest.raises(EngineUnavailableError, match="broke off"):
            await collect(engine)


async def test_a_generation_that_is_given_up(tmp_path: Path) -> None:
    async with engine_of(Player(finish="insufficient_system_resource"), "deepseek:m", tmp_path) as engine:
        with pytest.raises(EngineUnavailableError, match="gave up"):
            await collect(engine)


async def test_nobody_there(tmp_path: Path) -> None:
    async with engine_of(Player(), "mistral:m", tmp_path) as engine:
        pass
    with pytest.raises(EngineUnreachableError):
        await collect(engine)
    await engine.aclose()


async def test_token_ids_and_endless_text_are_refused(tmp_path: Path) -> None:
    async with engine_of(Player(), "mistral:m", tmp_path) as engine:
        for request in (
            GenerateRequest(prompt=(1, 2)),
            GenerateRequest(prompt="x", sampling=SamplingParams(ignore_eos=True)),
        ):
            with pytest.raises(RequestError):
                await collect(engine, request)


QUESTION = ChatRequest(
    messages=(
        Message(role=Role.USER, text="Rename f to g."),
        Message(role=Role.ASSISTANT, tool_calls=(ToolCall("abc123456", "find", '{"name": "f"}'),)),
        Message(role=Role.TOOL, text="a.py:1", call_id="abc123456"),
    ),
    tools=(Tool(name="rename", description="Rename.", parameters={"type": "object", "properties": {}}),),
    tool_choice=ToolChoice.REQUIRED,
    sampling=SamplingParams(max_tokens=50),
)


def called(**parts: Any) -> Json:
    """A piece of one tool call."""
    function = {name: parts.pop(name) for name in ("name", "arguments") if name in parts}
    return {"tool_calls": [parts | {"function": function}]}


WHOLE_CALLS: tuple[Json, ...] = (
    {"content": ""},
    {
        "tool_calls": [
            {"id": "one", "function": {"name": "rename", "arguments": '{"a": 1}'}},
            {"id": "two", "function": {"name": "rename", "arguments": {"a": 2}}},
        ]
    },
)
GROWING_CALLS: tuple[Json, ...] = (
    called(index=0, id="one", type="function", name="rename", arguments=""),
    called(index=0, arguments='{"a":'),
    called(index=1, id="two", type="function", name="rename", arguments='{"a": 2}'),
    called(index=0, arguments=" 1}"),
)


@pytest.mark.parametrize(
    ("spelling", "choice", "deltas"),
    [("mistral/chat:m", "any", WHOLE_CALLS), ("openai:m", "required", GROWING_CALLS)],
    ids=["mistral", "openai"],
)
async def test_tools(spelling: str, choice: str, deltas: tuple[Json, ...], tmp_path: Path) -> None:
    player = Player(deltas=deltas, finish="tool_calls")
    async with engine_of(player, spelling, tmp_path) as engine:
        assert isinstance(engine, Chatting)
        chunks = [chunk async for chunk in engine.chat(QUESTION)]
    assert chunks == [
        ChatChunk(
            tool_calls=(ToolCall("one", "rename", '{"a": 1}'), ToolCall("two", "rename", '{"a": 2}')),
            finish_reason=FinishReason.STOP,
            usage=COUNTED,
        )
    ]
    body = player.requests[0][2]
    assert body["tool_choice"] == choice
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "rename",
                "description": "Rename.",
                "parameters": {"type": "object", "properties": {}},
            },
        }
    ]
    assert body["messages"][1]["tool_calls"] == [
        {"id": "abc123456", "type": "function", "function": {"name": "find", "arguments": '{"name": "f"}'}}
    ]
    assert body["messages"][2] == {"role": "tool", "content": "a.py:1", "tool_call_id": "abc123456"}


@pytest.mark.parametrize(("text", "messages"), [("Say it in JSON.", 1), ("Say it.", 2)])
async def test_json_mode_names_json(text: str, messages: int, tmp_path: Path) -> None:
    player = Player(pieces=('{"a"', ": 1}"))
    async with engine_of(player, "mistral/chat:m", tmp_path) as engine:
        asked = ChatRequest(messages=(Message(role=Role.USER, text=text),), json=True)
        answer = "".join([chunk.text async for chunk in engine.chat(asked)])
    assert answer == '{"a": 1}'
    body = player.requests[0][2]
    assert body["response_format"] == {"type": "json_object"}
    assert len(body["messages"]) == messages
    assert any("JSON" in message["content"] for message in body["messages"])


async def test_parts_of_a_message(tmp_path: Path) -> None:
    """Mistral's models that reason send their thoughts and their answer as parts."""
    thought: Json = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
    player = Player(deltas=(thought, {"content": [{"type": "text", "text": "yes"}]}))
    async with engine_of(player, "mistral/chat:m", tmp_path) as engine:
        asked = ChatRequest(messages=(Message(role=Role.USER, text="?"),))
        assert "".join([chunk.text async for chunk in engine.chat(asked)]) == "yes"


async def test_through_an_engine_of_our_own(tmp_path: Path) -> None:
    """Prefix and suffix stay apart on the way through the gateway, as segments and as OpenAI's fields."""
    player = Player()
    async with (
        engine_of(player, "mistral:m", tmp_path) as engine,
        serve(create_app(ready_host(engine, name="mistral:m"))) as url,
    ):
        remote = HttpEngine(url)
        assert (await remote.info()).fim_family == FAMILY
        chunks = await collect(remote, GenerateRequest(prompt=PROMPT, sampling=SamplingParams(max_tokens=5)))
        await remote.aclose()
    assert "".join(chunk.text for chunk in chunks) == "a + b"
    assert chunks[-1].usage == COUNTED
    assert (player.requests[0][2]["prompt"], player.requests[0][2]["suffix"]) == (PREFIX, SUFFIX)


async def test_our_own_server_answers_as_mistrals(tmp_path: Path) -> None:
    """Client and server of one shape, written apart."""
    fake = FakeEngine("a + b", info=ModelInfo(name="fake", architecture="fake", fim_family="qwen"))
    async with serve(create_app(ready_host(fake, name="fake"))) as url:
        model = parse_hosted(f"mistral:fake@{url}")
        engine = HostedEngine(model, HostedClient(model, None), Ledger(tmp_path / "usage.jsonl", {}))
        chunks = await collect(engine, GenerateRequest(prompt=PROMPT, sampling=SamplingParams(max_tokens=9)))
        await engine.aclose()
    assert "".join(chunk.text for chunk in chunks) == "a + b"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert fake.requests[0].prompt == fim.render("qwen", prefix=PREFIX, suffix=SUFFIX)


async def test_info_and_counts(tmp_path: Path) -> None:
    async with engine_of(Player(), "mistral:m", tmp_path) as engine:
        info = await engine.info()
        assert (info.name, info.fim_family, info.device) == ("mistral:m", FAMILY, "127.0.0.1")
        assert await engine.count_tokens(("", "x" * 35)) == (0, 10)


NONSENSE: dict[str, Callable[[], Any]] = {
    "a list": lambda: [1],
    "an error in the stream": lambda: {"error": {"message": SECRET}},
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
async def test_answers_that_are_none(body: Callable[[], Any], tmp_path: Path) -> None:
    player = Player(refusals=[Refusal(status=200, body=body())])
    async with engine_of(player, "mistral:m", tmp_path) as engine:
        with pytest.raises(EngineUnavailableError) as caught:
            await collect(engine)
    assert SECRET not in str(caught.value)


async def test_an_answer_in_one_piece(tmp_path: Path) -> None:
    """Servers that do not stream."""
    whole = {"choices": [{"index": 0, "message": {"content": "a + b"}, "finish_reason": "stop"}], "usage": USAGE}
    player = Player(refusals=[Refusal(status=200, body=whole)])
    async with engine_of(player, "compatible:m", tmp_path) as engine:
        chunks = await collect(engine)
    assert "".join(chunk.text for chunk in chunks) == "a + b"
    assert chunks[-1].usage == COUNTED
