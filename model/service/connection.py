"""Answer a client for as long as it is there: when it goes, what works for it is cancelled. Knows no models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from model.errors import RequestError

_T = TypeVar("_T")

MAX_BODY_BYTES = 32 << 20


class BodyTooLargeError(RequestError):
    """A request body beyond `MAX_BODY_BYTES`."""


class ClientGoneError(Exception):
    """The client closed its connection: nobody is left to be told anything."""


async def read_body(request: Request) -> bytes:
    """The whole body. Raises `BodyTooLargeError`."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise BodyTooLargeError(
                f"The body is larger than {MAX_BODY_BYTES >> 20} MiB.", hint="Send a shorter prompt."
            )
        parts.append(part)
    return b"".join(parts)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """Await `work`, and cancel it when the client goes. The body must have been read. Raises `ClientGoneError`."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for pending in (task, watch):
            pending.cancel()
        await asyncio.wait({task, watch})
        for ended in (task, watch):
            if not ended.cancelled():
                ended.exception()  # taken note of: result() above raised it already, or the client is gone


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events from `events`; it and its `source` are closed at the end, and at once when the client goes."""

    def __init__(self, events: AsyncGenerator[bytes, None], *, source: AsyncGenerator[Any, None]) -> None:
        # What stands between must not wait for more: nginx has a header of its own, others compress in large pieces.
        headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
        super().__init__(media_type="text/event-stream", headers=headers)
        del self.headers["content-length"]
        self._events = events
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._send_all(send))
        except ClientGoneError:
            return
        finally:
            # A task that is cancelled before its first step never enters what it would have closed.
            await self._events.aclose()
            await self._source.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
