"""The HTTP shapes that OpenAI's, vLLM's and llama.cpp's clients read, and every refusal with the field's name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from model.api import Chunk, GenerateRequest, ModelInfo, Priority, SamplingParams, Segment
from model.errors import CheckpointError, EngineBusyError, RequestError
from model.fake import FakeEngine
from model.service.app import create_app
from model.service.host import ModelHost, ready_host
from model.status import EngineState, EngineStatus, StatusListener

TEXT = "return left + right"


def client_of(engine: FakeEngine | ModelHost, **options: Any) -> httpx.AsyncClient:
    host = engine if isinstance(engine, ModelHost) else ready_host(engine, name="fake")
    transport = httpx.ASGITransport(create_app(host, **options))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def events_of(body: str) -> list[Any]:
    lines = [line for line in body.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line[6:] if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]


async def complete(engine: FakeEngine, **body: Any) -> httpx.Response:
    async with client_of(engine) as client:
        return await client.post("/v1/completions", json={"prompt": "def add", **body})


async def test_whole_answer() -> None:
    engine = FakeEngine(TEXT)
    async with client_of(engine) as client:
        for cached in (0, 2):
            answer = (await client.post("/v1/completions", json={"prompt": "def add"})).json()
            choice = {"index": 0, "text": TEXT, "logprobs": None, "finish_reason": "stop"}
            assert answer["choices"] == [choice]
            assert answer["object"] == "text_completion"
            assert answer["model"] == "fake"
            assert answer["usage"] == {
                "prompt_tokens": 2,
                "completion_tokens": 4,
                "total_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": cached},
            }
            assert set(answer["timings_ms"]) == {"queue", "prefill", "decode"}


async def test_stream() -> None:
    response = await complete(FakeEngine(TEXT), stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    # A proxy that compresses would keep the first tokens until it has many.
    assert "no-transform" in response.headers["cache-control"]
    *chunks, usage, done = events_of(response.text)
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == TEXT
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 4 + ["stop"]
    assert "timings_ms" in chunks[-1]
    assert not any("usage" in chunk or "timings_ms" in chunk for chunk in chunks[:-1])
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4
    assert len({chunk["id"] for chunk in [*chunks, usage]}) == 1


async def test_stream_with_counts_on_every_chunk() -> None:
    response = await complete(FakeEngine(TEXT), stream=True, stream_options={"continuous_usage_stats": True})
    *chunks, _ = events_of(response.text)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 3, 4, 4]
    assert all("timings_ms" in chunk for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs(stream: bool) -> None:
    response = await complete(FakeEngine(TEXT, logprob=-0.5), logprobs=1, stream=stream)
    bodies = events_of(response.text)[:-1] if stream else [response.json()]
    found = [body["choices"][0]["logprobs"] for body in bodies]
    assert [token for part in found for token in part["tokens"]] == ["return", " left", " +", " right"]
    assert [value for part in found for value in part["token_logprobs"]] == [-0.5] * 4
    assert [offset for part in found for offset in part["text_offset"]] == [0, 6, 11, 13]
    assert all(set(part) == {"tokens", "token_logprobs", "top_logprobs", "text_offset", "token_ids"} for part in found)


REQUESTS: dict[str, tuple[dict[str, Any], GenerateRequest]] = {
    "defaults are OpenAI's": (
        {"prompt": "x"},
        GenerateRequest(prompt="x", sampling=SamplingParams(max_tokens=16, temperature=1.0)),
    ),
    "everything": (
        {
            "prompt": "x",
            "max_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "seed": 0,
            "stop": ["a", "b"],
            "ignore_eos": True,
            "logprobs": 0,
            "priority": "batch",
        },
        GenerateRequest(
            prompt="x",
            sampling=SamplingParams(
                max_tokens=7,
                temperature=0.5,
                top_p=0.9,
                top_k=40,
                seed=0,
                stop=("a", "b"),
                ignore_eos=True,
                logprobs=0,
            ),
            priority=Priority.BATCH,
        ),
    ),
    "token ids": (
        {"prompt": [5, 6], "temperature": 0, "top_k": -1, "stop": "a", "priority": 0, "seed": None, "unknown": 1},
        GenerateRequest(prompt=(5, 6), sampling=SamplingParams(max_tokens=16, stop=("a",))),
    ),
    "a batch of one": (
        {"prompt": ["x"], "temperature": 0, "n": 1, "best_of": 1, "echo": False, "logit_bias": {}, "model": "fake"},
        GenerateRequest(prompt="x", sampling=SamplingParams(max_tokens=16)),
    ),
    "segments": (
        {"segments": [{"text": "<file_sep>", "special": True}, {"text": "a.py"}], "temperature": 0},
        GenerateRequest(
            prompt=(Segment("<file_sep>", special=True), Segment("a.py")), sampling=SamplingParams(max_tokens=16)
        ),
    ),
}


@pytest.mark.parametrize(("body", "expected"), REQUESTS.values(), ids=REQUESTS)
async def test_request_reaches_the_engine(body: dict[str, Any], expected: GenerateRequest) -> None:
    engine = FakeEngine("ok")
    async with client_of(engine) as client:
        response = await client.post("/v1/completions", json=body)
    assert response.status_code == 200, response.text
    assert engine.requests == [expected]


REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no prompt": ({"prompt": None}, "prompt", "is missing"),
    "two prompts": ({"segments": [{"text": "a"}]}, "prompt", "exclude each other"),
    "several prompts": ({"prompt": ["a", "b"]}, "prompt", "several requests"),
    "bad ids": ({"prompt": [1, -2]}, "prompt", "at least 0"),
    "flag as id": ({"prompt": [True]}, "prompt", "whole number"),
    "empty segments": ({"prompt": None, "segments": []}, "segments", "must be a list"),
    "segment without text": ({"prompt": None, "segments": [{"special": True}]}, "segments", "each with a `text`"),
    "segment, odd special": ({"prompt": None, "segments": [{"text": "", "special": 1}]}, "segments", "true or false"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens", "at least 1"),
    "max_tokens as text": ({"max_tokens": "5"}, "max_tokens", "whole number"),
    "temperature": ({"temperature": -1}, "temperature", "from 0 to 100"),
    "temperature as flag": ({"temperature": True}, "temperature", "number"),
    "top_p": ({"top_p": 1.5}, "top_p", "from 0 to 1"),
    "top_k": ({"top_k": 1.5}, "top_k", "whole number"),
    "seed": ({"seed": -3}, "seed", "at least 0"),
    "stop": ({"stop": [""]}, "stop", "not empty"),
    "stop, type": ({"stop": 5}, "stop", "a string or a list"),
    "logprobs": ({"logprobs": 21}, "logprobs", "at most 20"),
    "stream": ({"stream": "yes"}, "stream", "true or false"),
    "stream_options": ({"stream_options": 1}, "stream_options", "an object"),
    "include_usage": ({"stream_options": {"include_usage": 1}}, "include_usage", "true or false"),
    "ignore_eos": ({"ignore_eos": 0}, "ignore_eos", "true or false"),
    "priority": ({"priority": "high"}, "priority", "batch"),
    "n": ({"n": 2}, "n", "must be 1"),
    "best_of": ({"best_of": 2}, "best_of", "must be 1"),
    "echo": ({"echo": True}, "echo", "must be false"),
    "penalty": ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
    "logit_bias": ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
    "model": ({"model": 5}, "model", "must be a string"),
    "suffix with ids": ({"prompt": [1], "suffix": "b"}, "suffix", "needs a `prompt`"),
}


@pytest.mark.parametrize(("body", "param", "what"), REFUSALS.values(), ids=REFUSALS)
async def test_bad_fields_are_named(body: dict[str, Any], param: str, what: str) -> None:
    engine = FakeEngine("ok")
    response = await complete(engine, **body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert f"`{param}`" in error["message"]
    assert what in error["message"]
    assert engine.requests == []


async def test_every_bad_field_is_named_at_once() -> None:
    message = (await complete(FakeEngine("ok"), n=3, top_p=7, stop=1)).json()["error"]["message"]
    assert all(f"`{name}`" in message for name in ("n", "top_p", "stop"))


BODIES = {
    "no JSON": b"{",
    "no object": b"[1]",
    "not UTF-8": b'{"prompt": "\xff"}',
    "half a surrogate pair": rb'{"prompt": "\ud83d"}',
    "very deep": b"[" * 100_000,
}


@pytest.mark.parametrize("raw", BODIES.values(), ids=BODIES)
async def test_what_is_no_request_at_all(raw: bytes) -> None:
    async with client_of(FakeEngine("ok")) as client:
        response = await client.post("/v1/completions", content=raw)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_body_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.service.connection.MAX_BODY_BYTES", 100)
    response = await complete(FakeEngine("ok"), prompt="x" * 200)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "BodyTooLargeError"


async def test_surrogate_pairs_are_text() -> None:
    engine = FakeEngine("ok")
    async with client_of(engine) as client:
        await client.post("/v1/completions", content=rb'{"prompt": "\ud83d\ude00"}')
    assert engine.requests[0].prompt == "😀"


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("qwen", ["<|fim_prefix|>", "a", "<|fim_suffix|>", "b", "<|fim_middle|>"]),
        ("mistral", ["[SUFFIX]", "b", "[PREFIX]", "a"]),
    ],
)
async def test_suffix_takes_the_family_format(family: str, expected: list[str]) -> None:
    engine = FakeEngine("ok", info=ModelInfo(name="fake", architecture="fake", fim_family=family))
    assert (await complete(engine, prompt="a", suffix="b")).status_code == 200
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, tuple)
    assert [part.text for part in prompt if isinstance(part, Segment)] == expected


async def test_suffix_without_a_format_is_refused_and_an_empty_one_is_not() -> None:
    engine = FakeEngine("ok")
    response = await complete(engine, suffix="b")
    assert response.status_code == 400
    assert "fill in the middle" in response.json()["error"]["message"]
    assert (await complete(engine, suffix="")).status_code == 200
    assert engine.requests[0].prompt == "def add"


async def test_another_model_is_not_served() -> None:
    response = await complete(FakeEngine("ok"), model="gpt-5")
    assert response.status_code == 400
    assert "'fake'" in response.json()["error"]["hint"]


async def test_models() -> None:
    async with client_of(FakeEngine("ok")) as client:
        (model,) = (await client.get("/v1/models")).json()["data"]
    assert (model["id"], model["object"], model["owned_by"], model["max_model_len"]) == (
        "fake",
        "model",
        "tersely",
        4096,
    )
    assert model["tersely"]["fim_family"] == "none"


class CountingEngine(FakeEngine):
    """A fake that knows token ids."""

    async def tokenize(self, texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(map(ord, text)) for text in texts)


async def test_tokenize() -> None:
    async with client_of(FakeEngine("ok")) as client:
        body = (await client.post("/tokenize", json={"texts": ["a b", "c"]})).json()
        assert (body["count"], body["counts"], body["tokens"]) == (3, [2, 1], None)
        assert (await client.post("/tokenize", json={})).json()["error"]["param"] == "texts"
        assert (await client.post("/tokenize", json={"texts": [5]})).status_code == 400
    async with client_of(CountingEngine("ok")) as client:
        for name in ("prompt", "content"):
            body = (await client.post("/tokenize", json={name: "ab"})).json()
            assert (body["count"], body["tokens"]) == (2, [97, 98])


async def test_health_answers_while_the_model_loads() -> None:
    go = asyncio.Event()

    async def load(report: StatusListener) -> FakeEngine:
        report(EngineStatus(state=EngineState.PULLING, message="downloading", fraction=0.25))
        await go.wait()
        return FakeEngine("ok")

    host = ModelHost(load, name="slow")
    async with client_of(host, version="1.2") as client:
        assert (await client.get("/health")).json()["state"] == "idle"
        host.start()
        waiting = asyncio.create_task(client.get("/v1/models"))
        await asyncio.sleep(0.05)
        response = await client.get("/health")
        assert response.status_code == 503
        body = response.json()
        assert (body["status"], body["fraction"], body["message"]) == ("pulling", 0.25, "downloading")
        assert (body["model"], body["version"]) == ("slow", "1.2")
        assert not waiting.done()
        go.set()
        assert (await waiting).json()["data"][0]["id"] == "fake"
        response = await client.get("/health")
        assert (response.status_code, response.json()["status"]) == (200, "ok")


async def test_failed_load_is_told_and_tried_again() -> None:
    attempts = 0

    async def load(report: StatusListener) -> FakeEngine:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise CheckpointError("The file is damaged.", hint="Fetch it again.")
        if attempts == 2:
            raise MemoryError("no room")
        return FakeEngine("ok")

    async with client_of(ModelHost(load, name="m")) as client:
        for message, hint in (("damaged", "Fetch it again."), ("MemoryError: no room", "doctor")):
            response = await client.post("/v1/completions", json={"prompt": "x"})
            assert response.status_code == 503
            assert message in response.json()["error"]["message"]
            assert hint in response.json()["error"]["hint"]
            health = await client.get("/health")
            assert (health.status_code, health.json()["state"]) == (503, "failed")
        assert (await client.post("/v1/completions", json={"prompt": "x"})).status_code == 200


class FailingEngine(FakeEngine):
    """Fails after `good` tokens."""

    def __init__(self, error: Exception, *, good: int) -> None:
        super().__init__(TEXT)
        self._error, self._good = error, good

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        count = 0
        async for chunk in super().generate(request):
            if count == self._good:
                raise self._error
            count += 1
            yield chunk


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (RequestError("Too long.", hint="Shorten it."), 400, "invalid_request_error"),
        (EngineBusyError("Full.", hint="Wait."), 429, "rate_limit_error"),
        (ZeroDivisionError("secret"), 500, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_engine_errors(error: Exception, status: int, kind: str, stream: bool) -> None:
    response = await complete(FailingEngine(error, good=0), stream=stream)
    assert response.status_code == status
    assert response.json()["error"]["type"] == kind
    assert "secret" not in response.text
    late = await complete(FailingEngine(error, good=2), stream=stream)
    if stream:
        first, second, failure, done = events_of(late.text)
        assert [part["choices"][0]["text"] for part in (first, second)] == ["return", " left"]
        assert failure["error"]["type"] == kind
        assert done == "[DONE]"
    else:
        assert late.status_code == status


async def test_metrics() -> None:
    engine = FakeEngine(TEXT)
    async with client_of(engine) as client:
        for _ in range(2):
            await client.post("/v1/completions", json={"prompt": "def add"})
        await client.post("/v1/completions", json={"prompt": "x", "n": 2})
        page = (await client.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert values['tersely_requests_total{outcome="ok"}'] == "2.0"
    assert values["tersely_prompt_tokens_total"] == "4.0"
    assert values["tersely_cached_tokens_total"] == "2.0"
    assert values["tersely_generated_tokens_total"] == "8.0"
    assert values["tersely_ttft_seconds_count"] == "2.0"
    assert values["tersely_prefill_seconds_count"] == "2.0"
    assert values["tersely_in_flight"] == "0.0"
    assert values["tersely_cancelled_total"] == "0.0"


async def test_unknown_routes_and_methods() -> None:
    async with client_of(FakeEngine("ok")) as client:
        missing = await client.get("/v1/embeddings")
        wrong = await client.get("/v1/completions")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert "/v1/embeddings" in missing.json()["error"]["message"]
