"""The page of an engine that a browser cannot reach: its files, and the engine's figures passed on, with its own token.

What may be asked through it is the page, `/stats` and `/metrics`: nothing that reads or writes text.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from model.errors import EngineUnavailableError
from model.service.address import RunningEngine
from model.service.connection import EventStream
from model.service.gate import Gate
from model.service.handler import answering
from model.service.page import EVENTS, STATS, file_routes

METRICS = "/metrics"
_CONNECT_TIMEOUT_S = 5.0
_SILENCE_S = 60.0
"""Longer than the engine ever keeps a listener waiting."""


def create_relay(engine: RunningEngine, *, token: str) -> Starlette:
    """The app; `token` is what browsers must show, and the engine's own stays here."""
    relay = _Relay(engine)
    return Starlette(
        routes=[
            *file_routes(),
            Route(STATS, answering(relay.whole)),
            Route(METRICS, answering(relay.whole)),
            Route(EVENTS, answering(relay.events)),
        ],
        middleware=[Middleware(Gate, token=token)],
    )


class _Relay:
    def __init__(self, engine: RunningEngine) -> None:
        self._engine = engine

    async def whole(self, request: Request) -> Response:
        """An answer in one piece."""
        async with self._client() as client:
            try:
                answer = await client.get(_path(request))
            except httpx.HTTPError as error:
                raise self._gone(error) from error
        kind = answer.headers.get("content-type", "text/plain")
        headers = {"content-type": kind, "cache-control": "no-store"}
        return Response(answer.content, status_code=answer.status_code, headers=headers)

    async def events(self, request: Request) -> Response:
        """Events, for as long as browser and engine both are there."""
        events = self._stream(_path(request))
        # The first one is awaited, so that an engine that is gone is told as such.
        first = await anext(events, b"")
        return EventStream(_behind(first, events), source=events)

    async def _stream(self, path: str) -> AsyncGenerator[bytes, None]:
        async with self._client() as client:
            try:
                async with client.stream("GET", path) as answer:
                    if not answer.is_success:
                        raise EngineUnavailableError(
                            f"The engine at {self._engine.address} answers with status {answer.status_code}.",
                            hint="Run `tersely stop`, and try again.",
                        )
                    async for piece in answer.aiter_bytes():
                        yield piece
            except httpx.HTTPError as error:
                raise self._gone(error) from error

    def _client(self) -> httpx.AsyncClient:
        path = self._engine.socket_path
        token = self._engine.token()
        return httpx.AsyncClient(
            base_url=self._engine.url,
            transport=None if path is None else httpx.AsyncHTTPTransport(uds=str(Path(path))),
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(_SILENCE_S, connect=_CONNECT_TIMEOUT_S),
            trust_env=False,
        )

    def _gone(self, error: httpx.HTTPError) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"The engine at {self._engine.address} does not answer ({error or type(error).__name__}).",
            hint="It starts again with the next key in an editor.",
        )


def _path(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


async def _behind(first: bytes, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async with aclosing(events):
        try:
            async for piece in events:
                yield piece
        except EngineUnavailableError:
            return  # the page sees the end, and asks again
