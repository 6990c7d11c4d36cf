"""Generations for whoever asks over HTTP: lease the model, open a stream, count it, answer whole or in events.

Knows no shape of any protocol: those are `Opening` and `Reply`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from model.api import Chunk, Engine, ModelInfo
from model.errors import RequestError, TerselyError
from model.service.connection import EventStream, while_connected
from model.service.host import ModelHost
from model.service.metrics import Metrics
from model.service.reply import Json, defect, error_json, event

Opening = Callable[[Engine, ModelInfo], Awaitable[AsyncIterator[Chunk]]]
"""Asks the engine, once it is there."""

logger = logging.getLogger(__name__)


class Reply(Protocol):
    """One protocol's answer. `end` closes a stream of events."""

    end: bytes

    def whole(self, chunks: Sequence[Chunk]) -> Json:
        """The answer in one piece."""
        ...

    def events(self, chunk: Chunk) -> Sequence[Json]:
        """What a chunk becomes in a stream."""
        ...


class Generations:
    """Opens generations on the host's model, and counts them."""

    def __init__(self, host: ModelHost, metrics: Metrics) -> None:
        self._host = host
        self._metrics = metrics

    async def stream(
        self, model: str | None, opening: Opening, *, limit_tokens: int
    ) -> AsyncGenerator[tuple[str, Chunk], None]:
        """The model's name with each chunk. `limit_tokens`: how many may be written.

        Raises `RequestError` when `model` is another than the one here.
        """
        with self._metrics.watch(limit_tokens=limit_tokens) as watch:
            async with self._host.lease() as engine:
                info = await engine.info()
                if model not in (None, "", "default", info.name):
                    raise RequestError(
                        f"The model {model!r} is not served here.", hint=f"Ask for {info.name!r}, or leave it out."
                    )
                async for chunk in _closing(await opening(engine, info)):
                    watch.saw(chunk)
                    yield info.name, chunk

    async def answer(
        self,
        request: Request,
        generation: AsyncGenerator[tuple[str, Chunk], None],
        *,
        stream: bool,
        reply: Callable[[str], Reply],
    ) -> Response:
        """The whole response; `reply` gets the model's name. When the client goes, the generation is closed."""
        if not stream:
            return await while_connected(request.receive, _whole(generation, reply))
        # The first chunk is awaited before the status goes out: what fails until then fails with its own status.
        name, first = await while_connected(request.receive, anext(generation))
        return EventStream(_events(first, generation, reply(name)), source=generation)


async def _whole(generation: AsyncGenerator[tuple[str, Chunk], None], reply: Callable[[str], Reply]) -> Response:
    async with contextlib.aclosing(generation):
        named = [pair async for pair in generation]
    return JSONResponse(reply(named[-1][0]).whole([chunk for _, chunk in named]))


async def _events(
    first: Chunk, generation: AsyncGenerator[tuple[str, Chunk], None], reply: Reply
) -> AsyncGenerator[bytes, None]:
    try:
        for body in reply.events(first):
            yield event(body)
        async for _, chunk in generation:
            for body in reply.events(chunk):
                yield event(body)
    except TerselyError as error:
        yield event(error_json(error)[1])
    except Exception:
        logger.exception("a stream failed")
        yield event(error_json(defect())[1])
    if reply.end:
        yield reply.end


async def _closing(chunks: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    """The engine's chunks; closed with this generator, so that the request ends within one decode step."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
