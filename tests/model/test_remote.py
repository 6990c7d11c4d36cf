"""The HTTP engine against tersely's own server, against servers that lack its extensions, and against broken ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from model import wire
from model.api import (
    Chunk,
    Engine,
    EngineTimings,
    Feedback,
    FinishReason,
    GenerateRequest,
    Listening,
    ModelInfo,
    Priority,
    SamplingParams,
    Segment,
    TokenLogprob,
    Usage,
)
from model.errors import EngineAuthError, EngineBusyError, EngineError, EngineUnavailableError, RequestError, UsageError
from model.fake import FakeEngine
from model.remote import HttpEngine
from model.service.app import create_app
from model.service.host import ready_host
from model.status import EngineState
from tests.model.service.serving import serve, until

TEXT = "return left + right"
EVERYTHING = GenerateRequest(
    prompt=(Segment("<file_sep>", special=True), Segment("a.py\n<file_sep>")),
    sampling=SamplingParams(
        max_tokens=7, temperature=0.5, top_p=0.9, top_k=4, seed=1, stop=("x",), ignore_eos=True, logprobs=2
    ),
    priority=Priority.BATCH,
)


async def collect(engine: Engine, request: GenerateRequest) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


async def test_own_server_gives_what_the_engine_gives() -> None:
    info = ModelInfo(
        name="fake", architecture="llama", fim_family="qwen", context_tokens=77, parameters=5, quantization="int8"
    )
    here, there = FakeEngine(TEXT, info=info), FakeEngine(TEXT, info=info)
    async with serve(create_app(ready_host(there))) as url:
        remote = HttpEngine(url)
        assert isinstance(remote, Engine)
        assert await remote.info() == info
        for request in (EVERYTHING, GenerateRequest(prompt="a b"), GenerateRequest(prompt=(1, 2))):
            assert await collect(remote, request) == await collect(here, request)
        assert there.requests == here.requests
        assert await remote.count_tokens(("a b", "")) == await here.count_tokens(("a b", ""))
        assert (await remote.status()).state is EngineState.READY
        await remote.aclose()


async def test_feedback_goes_to_our_own_server_on_this_machine() -> None:
    app = create_app(ready_host(FakeEngine(TEXT)))
    async with serve(app) as url:
        remote = HttpEngine(url)
        assert isinstance(remote, Listening)
        await remote.hear(Feedback(shown=1, accepted=1, accepted_tokens=2.5))
        metrics = app.state.metrics
        assert [metrics.value(f"tersely_{name}_total") for name in ("shown", "accepted", "accepted_tokens")] == [
            1,
            1,
            2.5,
        ]
        with pytest.raises(RequestError, match="shown"):
            await remote.hear(Feedback(shown=-1))
        await remote.aclose()


async def test_feedback_is_told_to_nobody_else() -> None:
    server = ForeignServer(vocabulary=())
    async with serve(server.app) as url:
        remote = HttpEngine(url)
        await remote.hear(Feedback(shown=1))
        await remote.aclose()
    elsewhere = HttpEngine("http://192.0.2.1", connect_timeout_s=0.01)
    await elsewhere.hear(Feedback(shown=1))  # connects to nothing
    await elsewhere.aclose()
    assert server.bodies == []


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    config = uvicorn.Config(create_app(ready_host(FakeEngine(TEXT))), uds=str(path), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    remote = HttpEngine(socket_path=path)
    chunks = await collect(remote, GenerateRequest(prompt="a"))
    assert "".join(chunk.text for chunk in chunks) == TEXT
    await remote.aclose()
    server.should_exit = True
    await task


async def test_closing_the_stream_cancels_at_the_server() -> None:
    engine = FakeEngine("word " * 10_000, token_delay_s=0.005)
    async with serve(create_app(ready_host(engine))) as url:
        remote = HttpEngine(url)
        chunks = remote.generate(GenerateRequest(prompt="a", sampling=SamplingParams(max_tokens=10_000)))
        assert (await anext(chunks)).text == "word"
        await chunks.aclose()
        await until(lambda: engine.cancelled == 1)
        task = asyncio.create_task(
            collect(remote, GenerateRequest(prompt="b", sampling=SamplingParams(max_tokens=10_000)))
        )
        await until(lambda: len(engine.requests) == 2)
        task.cancel()
        await until(lambda: engine.cancelled == 2)
        await remote.aclose()


async def test_requests_run_beside_each_other() -> None:
    engine = FakeEngine(TEXT, token_delay_s=0.005)
    async with serve(create_app(ready_host(engine))) as url:
        remote = HttpEngine(url)
        answers = await asyncio.gather(*(collect(remote, GenerateRequest(prompt=f"p{n}")) for n in range(20)))
        assert {"".join(chunk.text for chunk in answer) for answer in answers} == {TEXT}
        await remote.aclose()


async def test_token() -> None:
    async with serve(create_app(ready_host(FakeEngine(TEXT)), token="t" * 20)) as url:
        good = HttpEngine(url, token="t" * 20)
        assert (await good.info()).name == "fake"
        for wrong in (None, "wrong"):
            bad = HttpEngine(url, token=wrong)
            with pytest.raises(EngineAuthError) as caught:
                await bad.info()
            assert caught.value.hint
            await bad.aclose()
        await good.aclose()


class ForeignServer:
    """An OpenAI-compatible server that was not made for tersely; keeps what it was sent."""

    def __init__(self, *, vocabulary: tuple[str, ...] | None = None, usage: bool = True, style: str = "openai") -> None:
        self.bodies: list[dict[str, Any]] = []
        self._vocabulary = vocabulary
        self._usage = usage
        self._style = style
        routes = [Route("/v1/models", self.models), Route("/v1/completions", self.completions, methods=["POST"])]
        if vocabulary is not None:
            routes.append(Route("/tokenize", self.tokenize, methods=["POST"]))
        self.app = Starlette(routes=routes)

    async def models(self, request: Request) -> Response:
        entry = {"id": "org/coder", "object": "model", "owned_by": "vllm", "max_model_len": 32768}
        return JSONResponse({"object": "list", "data": [entry, {"id": "other", "object": "model"}]})

    async def tokenize(self, request: Request) -> Response:
        text = (await request.json())["prompt"]
        assert self._vocabulary is not None
        return JSONResponse({"tokens": [0] if text in self._vocabulary else list(range(len(text)))})

    async def completions(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        return StreamingResponse(self._stream(), media_type="text/event-stream; charset=utf-8")

    async def _stream(self) -> AsyncIterator[bytes]:
        logprobs: dict[str, Any] = {"tokens": ["ret"], "token_logprobs": [-0.5], "top_logprobs": [{"ret": -0.5}]}
        if self._style == "llama.cpp":
            rivals = [{"token": "ret", "logprob": -0.5}]
            logprobs = {"content": [{"id": 9, "token": "ret", "logprob": -0.5, "top_logprobs": rivals}]}
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "text": "ret", "logprobs": logprobs, "finish_reason": None}]},
            {"choices": [{"index": 0, "text": "urn", "logprobs": None, "finish_reason": "length"}]},
        ]
        if self._style == "llama.cpp":
            events[-1]["timings"] = {"prompt_ms": 3.5, "predicted_ms": 7.0}
        if self._usage:
            events.append({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 2}})
        for event in events:
            data = f": ping\r\n\r\ndata: {json.dumps(event)}\r\n\r\n".encode()
            yield data[:15]
            await asyncio.sleep(0)
            yield data[15:]
        yield b"data: [DONE]\r\n\r\n"


async def test_foreign_server() -> None:
    server = ForeignServer(vocabulary=("<fim_prefix>", "<fim_suffix>", "<fim_middle>"))
    async with serve(server.app) as url:
        remote = HttpEngine(f"{url}/v1/")
        info = await remote.info()
        assert (info.name, info.fim_family, info.context_tokens) == ("org/coder", "starcoder", 32768)
        first, second, last = await collect(remote, EVERYTHING)
        assert await remote.count_tokens(("abc", "<fim_prefix>")) == (3, len("<\u200bfim_prefix>"))
        await remote.aclose()
    assert first == Chunk(text="ret", logprobs=(TokenLogprob(0, "ret", -0.5, (("ret", -0.5),)),))
    assert second == Chunk(text="urn")
    assert last == Chunk(
        finish_reason=FinishReason.LENGTH,
        usage=Usage(prompt_tokens=12, cached_tokens=0, completion_tokens=2),
        timings=EngineTimings(),
    )
    assert server.bodies == [
        {
            "model": "org/coder",
            "prompt": "<file_sep>a.py\n<\u200bfile_sep>",
            "max_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 4,
            "seed": 1,
            "stop": ["x"],
            "ignore_eos": True,
            "logprobs": 2,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


@pytest.mark.parametrize(("separator", "family"), [("<file_sep>", "starcoder2"), ("<filename>", "granite")])
async def test_what_separates_files_tells_families_apart(separator: str, family: str) -> None:
    server = ForeignServer(vocabulary=("<fim_prefix>", "<fim_suffix>", "<fim_middle>", separator))
    async with serve(server.app) as url:
        remote = HttpEngine(url)
        assert (await remote.info()).fim_family == family
        await remote.aclose()


async def test_foreign_server_that_tells_less() -> None:
    server = ForeignServer(usage=False, style="llama.cpp")
    async with serve(server.app) as url:
        remote = HttpEngine(url, model="other", fim_family="mistral")
        info = await remote.info()
        assert (info.name, info.fim_family, info.context_tokens) == ("other", "mistral", wire.DEFAULT_CONTEXT_TOKENS)
        first, _, last = await collect(remote, GenerateRequest(prompt="a"))
        assert await remote.count_tokens(("1234567", "")) == (2, 0)
        await remote.aclose()
    assert first.logprobs == (TokenLogprob(9, "ret", -0.5, (("ret", -0.5),)),)
    assert last.usage == Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=2)
    assert last.timings == EngineTimings(prefill_ms=3.5, decode_ms=7.0)
    assert set(server.bodies[0]) == {"model", "prompt", "max_tokens", "temperature", "stream", "stream_options"}


async def test_foreign_server_without_the_wanted_model() -> None:
    async with serve(ForeignServer().app) as url:
        remote = HttpEngine(url, model="absent")
        with pytest.raises(RequestError, match="does not serve 'absent'") as caught:
            await remote.info()
        assert "org/coder" in caught.value.hint
        await remote.aclose()


DEFUSED = {
    "plain <b>code</b> a <| b |> c[INS]": "plain <b>code</b> a <| b |> c[INS]",
    "<|fim_prefix|>": "<\u200b|fim_prefix|>",
    "x<|im_start|>y<|eot_id|>": "x<\u200b|im_start|>y<\u200b|eot_id|>",
    "<｜fim▁hole｜>": "<\u200b｜fim▁hole｜>",
    "<fim_suffix> <reponame>": "<\u200bfim_suffix> <\u200breponame>",
    "[SUFFIX][INST]</s>": "[\u200bSUFFIX][\u200bINST]<\u200b/s>",
    " <PRE> <MID>": " <\u200bPRE> <\u200bMID>",
}


@pytest.mark.parametrize(("text", "expected"), DEFUSED.items())
def test_the_users_text_cannot_spell_control_tokens(text: str, expected: str) -> None:
    assert wire.as_text(text, fim_family="none") == expected
    assert wire.as_text((Segment("<|fim_prefix|>", special=True), Segment(text)), fim_family="qwen") == (
        "<|fim_prefix|>" + expected
    )


def test_codellama_is_spelled_with_its_spaces() -> None:
    prompt = (
        Segment("▁<PRE>", special=True),
        Segment("a"),
        Segment("▁<SUF>", special=True),
        Segment("b"),
        Segment("▁<MID>", special=True),
    )
    assert wire.as_text(prompt, fim_family="codellama") == "<PRE> a <SUF>b <MID>"


def answering(status: int, content: bytes, media_type: str = "application/json") -> Starlette:
    """A server with one model whose completions always answer so."""

    async def completions(request: Request) -> Response:
        return Response(content, status_code=status, media_type=media_type)

    async def models(request: Request) -> Response:
        return JSONResponse({"data": [{"id": "m"}]})

    routes = [Route("/v1/models", models), Route("/v1/completions", completions, methods=["POST"])]
    return Starlette(routes=routes)


def shape(message: str, kind: str = "x", code: object = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()


GOOD = b'data: {"choices": [{"text": "a"}]}\n\n'
STREAM = "text/event-stream"
FAILURES: dict[str, tuple[Starlette, type[EngineError], str]] = {
    "bad request": (answering(400, shape("`n` must be 1.")), RequestError, "must be 1"),
    "vLLM's older shape": (answering(422, b'{"detail": "too long"}'), RequestError, "too long"),
    "not found": (answering(404, b"{}"), RequestError, "404"),
    "no token": (answering(401, shape("Who are you?")), EngineAuthError, "Who are you"),
    "forbidden": (answering(403, b"<html>", "text/html"), EngineAuthError, "403"),
    "rate limit": (answering(429, shape("Slow down.")), EngineBusyError, "Slow down"),
    "server error": (answering(500, shape("boom")), EngineUnavailableError, "boom"),
    "gateway": (answering(502, b"<html>Bad gateway</html>", "text/html"), EngineUnavailableError, "502"),
    "a web page": (answering(200, b"<html>", "text/html"), EngineUnavailableError, "OpenAI-compatible"),
    "broken off": (answering(200, GOOD, STREAM), EngineUnavailableError, "broke off"),
    "broken off within an event": (answering(200, GOOD + b'data: {"cho', STREAM), EngineUnavailableError, "broke off"),
    "not JSON": (answering(200, GOOD + b"data: oops\n\n", STREAM), EngineUnavailableError, "not JSON"),
    "not an object": (answering(200, b"data: 5\n\n", STREAM), EngineUnavailableError, "OpenAI-compatible"),
    "error in the stream": (
        answering(200, GOOD + b"data: " + shape("too long", "invalid_request_error") + b"\n\n", STREAM),
        RequestError,
        "too long",
    ),
    "error with a code": (
        answering(200, b"data: " + shape("full", code=429) + b"\n\n", STREAM),
        EngineBusyError,
        "full",
    ),
    "error as text": (answering(200, b'data: {"error": "boom"}\n\n', STREAM), EngineUnavailableError, "boom"),
}


@pytest.mark.parametrize(("app", "error", "message"), FAILURES.values(), ids=FAILURES)
async def test_failures(app: Starlette, error: type[EngineError], message: str) -> None:
    async with serve(app) as url:
        remote = HttpEngine(url)
        with pytest.raises(error, match=message) as caught:
            await collect(remote, GenerateRequest(prompt="a"))
        assert caught.value.hint
        await remote.aclose()


async def test_no_server(tmp_path: Path) -> None:
    for remote in (HttpEngine("http://127.0.0.1:9"), HttpEngine(socket_path=tmp_path / "none.sock")):
        with pytest.raises(EngineUnavailableError, match="Nothing answers at"):
            await remote.info()
        await remote.aclose()


async def test_a_server_that_never_answers() -> None:
    async def silent(request: Request) -> Response:
        await asyncio.sleep(60)
        return PlainTextResponse("")

    async with serve(Starlette(routes=[Route("/v1/models", silent)])) as url:
        remote = HttpEngine(url, read_timeout_s=0.1)
        with pytest.raises(EngineUnavailableError, match="in time"):
            await remote.info()
        await remote.aclose()


async def test_a_server_that_dies_while_it_answers() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET"):
            body = b'{"data": [{"id": "m"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
        elif request.startswith(b"POST /v1"):
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            writer.write(head + b"%x\r\n%s\r\n" % (len(GOOD), GOOD))
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(die, "127.0.0.1", 0)
    async with server:
        remote = HttpEngine(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(EngineUnavailableError, match="broke"):
            await collect(remote, GenerateRequest(prompt="a"))
        await remote.aclose()


@pytest.mark.parametrize("url", ["http://[", "", "localhost:8000", "ftp://host", "http://", "/some/path"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError, match="not the address") as caught:
        HttpEngine(url)
    assert "http://" in caught.value.hint
