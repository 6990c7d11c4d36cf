"""The engine that clients hold, over real processes: start, status, death, back-off; and over a given server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from model.api import Engine, Feedback, GenerateRequest, ModelInfo, SamplingParams
from model.errors import EngineAuthError, EngineUnavailableError, UsageError
from model.fake import FakeEngine
from model.registry import DEFAULT_MODEL, MODELS
from model.service import launcher
from model.service.app import create_app
from model.service.host import ModelHost, ready_host
from model.service.managed import ManagedEngine
from model.service.options import EngineOptions
from model.status import EngineState, EngineStatus, StatusListener
from tests.model.service.serving import serve, until

OPTIONS = EngineOptions(model="fake:return left", idle_unload_s=None)
SLOW = replace(OPTIONS, model="fake@0.02:" + "word " * 5000)
sigkill = pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")


async def text_of(engine: Engine, *, max_tokens: int = 64) -> str:
    request = GenerateRequest(prompt="x", sampling=SamplingParams(max_tokens=max_tokens))
    return "".join([chunk.text async for chunk in engine.generate(request)])


def states(engine: ManagedEngine) -> list[EngineState]:
    seen: list[EngineState] = []

    def listener(status: EngineStatus) -> None:
        if not seen or seen[-1] is not status.state:
            seen.append(status.state)

    engine.on_status(listener)
    return seen


async def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(pid))


async def test_starts_on_the_first_request_and_is_shared(home: Path) -> None:
    one, other = ManagedEngine(OPTIONS), ManagedEngine(OPTIONS)
    assert isinstance(one, Engine)
    seen = states(one)
    assert launcher.list_engines() == ()
    assert await asyncio.gather(text_of(one), text_of(other)) == ["return left"] * 2
    assert await one.info() == ModelInfo(name="fake", architecture="fake")
    assert await one.count_tokens(("a b",)) == (2,)
    assert len(launcher.list_engines()) == 1
    assert (seen[0], seen[1], seen[-1]) == (EngineState.IDLE, EngineState.STARTING, EngineState.READY)
    await one.aclose()
    await other.aclose()
    assert len(launcher.list_engines()) == 1


async def test_warm_up(home: Path) -> None:
    engine = ManagedEngine(OPTIONS)
    engine.warm_up()
    engine.warm_up()
    await until(lambda: engine.status.state is EngineState.READY)
    assert len(launcher.list_engines()) == 1
    await engine.aclose()


async def test_feedback_starts_no_engine_and_reaches_one_that_runs(home: Path) -> None:
    engine = ManagedEngine(OPTIONS)
    await engine.hear(Feedback(shown=1))
    assert launcher.list_engines() == ()
    await text_of(engine)
    await engine.hear(Feedback(shown=1, accepted_tokens=1.5))
    [running] = launcher.list_engines()
    assert running.socket_path is not None
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=running.socket_path), base_url=running.url
    ) as client:
        totals = (await client.get("/stats")).json()["totals"]
    assert (totals["shown"], totals["accepted"], totals["accepted_tokens"]) == (1, 0, 1.5)
    await engine.aclose()


async def test_a_listener_that_left_hears_nothing(home: Path) -> None:
    engine = ManagedEngine(OPTIONS)
    heard: list[EngineStatus] = []
    unsubscribe = engine.on_status(heard.append)
    unsubscribe()
    unsubscribe()
    await text_of(engine)
    assert [status.state for status in heard] == [EngineState.IDLE]
    await engine.aclose()


@sigkill
async def test_death_during_a_request_fails_that_one_only(home: Path) -> None:
    engine = ManagedEngine(SLOW)
    chunks = engine.generate(GenerateRequest(prompt="x", sampling=SamplingParams(max_tokens=5000)))
    await anext(chunks)
    seen = states(engine)
    (first,) = launcher.list_engines()
    await kill(first.pid)
    with pytest.raises(EngineUnavailableError) as caught:
        async for _ in chunks:
            pass
    assert caught.value.hint
    await until(lambda: engine.status.state is EngineState.READY)  # without being asked
    assert seen == [EngineState.READY, EngineState.FAILED, EngineState.STARTING, EngineState.READY]
    (second,) = launcher.list_engines()
    assert second.pid != first.pid
    assert await text_of(engine, max_tokens=2) == "word word"
    await engine.aclose()


@sigkill
async def test_death_between_requests_goes_unnoticed(home: Path) -> None:
    engine = ManagedEngine(OPTIONS)
    await text_of(engine)
    for ask in (lambda: text_of(engine), lambda: engine.count_tokens(("a",))):
        (running,) = launcher.list_engines()
        await kill(running.pid)
        assert await ask() in ("return left", (1,))
    await engine.aclose()


@sigkill
async def test_an_engine_that_keeps_dying_is_started_ever_more_rarely(home: Path) -> None:
    engine = ManagedEngine(SLOW, first_delay_s=60)
    for _ in range(2):
        chunks = engine.generate(GenerateRequest(prompt="x", sampling=SamplingParams(max_tokens=5000)))
        await anext(chunks)
        (running,) = launcher.list_engines()
        await kill(running.pid)
        with pytest.raises(EngineUnavailableError):
            async for _ in chunks:
                pass
    engine.warm_up()
    with pytest.raises(EngineUnavailableError, match="started again in a moment"):
        await text_of(engine)
    assert launcher.list_engines() == ()
    await engine.aclose()


async def test_a_request_that_is_cancelled_while_the_engine_starts_does_not_stop_the_start(home: Path) -> None:
    engine = ManagedEngine(OPTIONS)
    task = asyncio.create_task(text_of(engine))
    await asyncio.sleep(0)
    task.cancel()
    await until(lambda: engine.status.state is EngineState.READY)
    assert await text_of(engine) == "return left"
    await engine.aclose()


async def test_cancelling_reaches_the_engine(home: Path) -> None:
    engine = ManagedEngine(SLOW)
    chunks = engine.generate(GenerateRequest(prompt="x", sampling=SamplingParams(max_tokens=5000)))
    await anext(chunks)
    await chunks.aclose()
    (running,) = launcher.list_engines()

    def page() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            assert running.socket_path is not None
            client.connect(running.socket_path)
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b""))

    await until(lambda: b"tersely_cancelled_total 1.0" in page())
    await engine.aclose()


async def test_a_model_that_cannot_be_loaded(home: Path) -> None:
    path = home / "broken.gguf"
    path.write_bytes(b"this is no model at all")
    engine = ManagedEngine(replace(OPTIONS, model=str(path)))
    with pytest.raises(EngineUnavailableError, match="not a GGUF"):
        await text_of(engine)
    assert engine.status.state is EngineState.FAILED
    assert engine.status.hint
    await engine.aclose()


async def test_offline_without_the_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERSELY_OFFLINE", "1")
    engine = ManagedEngine(EngineOptions())
    with pytest.raises(EngineUnavailableError, match="TERSELY_OFFLINE") as caught:
        await engine.info()
    assert "put it here as" in caught.value.hint
    await engine.aclose()


async def test_a_given_server() -> None:
    go = asyncio.Event()

    async def load(report: StatusListener) -> FakeEngine:
        await go.wait()
        return FakeEngine("ok")

    async with serve(create_app(ModelHost(load, name="slow"), token="t" * 20)) as url:
        refused = ManagedEngine(url=url, token="wrong")
        with pytest.raises(EngineAuthError):
            await refused.info()
        assert refused.status.state is EngineState.FAILED
        await refused.aclose()
        engine = ManagedEngine(url=url, token="t" * 20)
        asking = asyncio.create_task(text_of(engine))
        await until(lambda: engine.status.state is EngineState.STARTING)
        go.set()
        assert await asking == "ok"
        assert engine.status.state is EngineState.READY
        await engine.aclose()


async def test_a_server_that_is_not_there_and_then_is() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    engine = ManagedEngine(url=f"http://127.0.0.1:{port}", first_delay_s=0.01)
    with pytest.raises(EngineUnavailableError, match="Nothing answers"):
        await text_of(engine)
    async with serve(create_app(ready_host(FakeEngine("ok"))), port=port):
        assert await text_of(engine) == "ok"
    await engine.aclose()


def test_a_bad_address_is_told_at_once() -> None:
    with pytest.raises(UsageError):
        ManagedEngine(url="localhost:8000")


@pytest.mark.model
async def test_the_embedded_model_behind_everything(home: Path, embedded_model: Path) -> None:
    link = MODELS[DEFAULT_MODEL].path
    link.parent.mkdir(parents=True)
    link.symlink_to(embedded_model)
    engine = ManagedEngine(EngineOptions(idle_unload_s=None))
    try:
        seen = states(engine)
        info = await engine.info()
        assert (info.architecture, info.context_tokens) == ("llama", 8192)
        assert await engine.count_tokens(("def add",)) == (2,)
        request = GenerateRequest(prompt="def add(a, b):\n    return", sampling=SamplingParams(max_tokens=8))
        answers = [[chunk async for chunk in engine.generate(request)] for _ in range(2)]
        texts = {"".join(chunk.text for chunk in answer) for answer in answers}
        assert len(texts) == 1
        usage = answers[1][-1].usage
        assert usage is not None
        assert usage.cached_tokens >= usage.prompt_tokens - 1
        assert seen[-1] is EngineState.READY
    finally:
        await engine.aclose()
