"""Clients that go away, over real sockets: what the engine does for them ends."""

from __future__ import annotations

import asyncio
import json

import pytest

from model.fake import FakeEngine
from model.service.app import create_app
from model.service.host import ModelHost, ready_host
from model.status import StatusListener
from tests.model.service.serving import serve, until


async def send(url: str, **body: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    payload = json.dumps({"prompt": "x", "max_tokens": 10_000, **body}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(payload)}\r\n\r\n"
    writer.write(head.encode() + payload)
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("stream", [True, False])
async def test_a_generation_ends_with_its_client(stream: bool) -> None:
    engine = FakeEngine("word " * 10_000, token_delay_s=0.005)
    app = create_app(ready_host(engine))
    async with serve(app) as url:
        reader, writer = await send(url, stream=stream)
        if stream:
            await reader.readuntil(b"data: ")
        else:
            await until(lambda: engine.requests)
        assert engine.cancelled == 0
        writer.transport.abort()
        await until(lambda: engine.cancelled == 1)
    assert b"tersely_cancelled_total 1.0" in app.state.metrics.page()
    assert b"tersely_in_flight 0.0" in app.state.metrics.page()


async def test_a_client_that_goes_before_the_first_token() -> None:
    engine = FakeEngine("word", token_delay_s=60)
    async with serve(create_app(ready_host(engine))) as url:
        _, writer = await send(url, stream=True)
        await until(lambda: engine.requests)
        writer.close()
        await until(lambda: engine.cancelled == 1)


async def test_a_client_that_goes_while_the_model_loads_does_not_stop_the_load() -> None:
    go = asyncio.Event()
    engine = FakeEngine("ok")

    async def load(_: StatusListener) -> FakeEngine:
        await go.wait()
        return engine

    host = ModelHost(load, name="slow")
    app = create_app(host)
    async with serve(app) as url:
        _, gone = await send(url)
        reader, _ = await send(url)
        await until(lambda: b"tersely_in_flight 2.0" in app.state.metrics.page())
        gone.transport.abort()
        await until(lambda: b"tersely_cancelled_total 1.0" in app.state.metrics.page())
        go.set()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
    assert len(engine.requests) == 1


async def test_a_slow_reader_holds_nobody_else_up() -> None:
    engine = FakeEngine("word " * 3000)
    async with serve(create_app(ready_host(engine))) as url:
        _, idle = await send(url, stream=True)
        reader, writer = await send(url, stream=False)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        idle.close()
