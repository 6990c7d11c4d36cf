"""A real uvicorn server in the test's own event loop, on a free loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import uvicorn
from starlette.types import ASGIApp


async def until(condition: Callable[[], object], *, limit_s: float = 30.0) -> None:
    """Wait for what another task or process brings about."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - nobody tells: it is seen from outside
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serve(app: ASGIApp, *, port: int = 0) -> AsyncIterator[str]:
    """`async with serve(app) as url`; port 0 takes a free one."""
    listener = socket.create_server(("127.0.0.1", port))
    port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server._serve([listener]))
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
        listener.close()
