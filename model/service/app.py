"""The engine's HTTP face, a Starlette app: routes and handlers, which translate and delegate. Knows no process.

`/v1/completions`, `/v1/models`, `/tokenize`, `/health`, `/metrics`. Shapes as OpenAI (completions, models, errors),
vLLM (`/tokenize`, `ignore_eos`, `continuous_usage_stats`) and llama.cpp (`/health` with 503 while loading) have them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model.api import Chunk, Engine, GenerateRequest, ModelInfo, Tokenizing
from model.errors import RequestError, TerselyError
from model.service.connection import BodyTooLargeError, ClientGoneError, EventStream, read_body, while_connected
from model.service.gate import Gate
from model.service.host import ModelHost
from model.service.metrics import Metrics
from model.service.reply import DONE, CompletionReply, Json, defect, error_json, event, model_json
from model.service.request import CompletionCall, parse_completion, parse_texts
from model.status import EngineState

logger = logging.getLogger(__name__)


def create_app(host: ModelHost, *, token: str | None = None, version: str = "") -> Starlette:
    """The app that serves `host`'s model. `token`: what clients must show; None only where the socket is private.

    `app.state.metrics` has the counters.
    """
    service = Service(host, version=version)
    app = Starlette(
        routes=[
            Route("/v1/completions", _answering(service.completions), methods=["POST"]),
            Route("/v1/models", _answering(service.models)),
            Route("/tokenize", _answering(service.tokenize), methods=["POST"]),
            Route("/health", _answering(service.health)),
            Route("/metrics", _answering(service.metrics_page)),
        ],
        middleware=[Middleware(Gate, token=token)],
        exception_handlers={HTTPException: _no_such_route},
    )
    app.state.metrics = service.metrics
    return app


class Service:
    """The handlers, around one model host."""

    def __init__(self, host: ModelHost, *, version: str) -> None:
        self._host = host
        self._version = version
        self._created = int(time.time())
        self.metrics = Metrics()

    async def completions(self, request: Request) -> Response:
        """OpenAI's "Create completion"."""
        call = parse_completion(await _json(request))
        generation = self._generate(call)
        if not call.stream:
            return await while_connected(request.receive, self._whole(call, generation))
        # The first chunk is awaited before the status goes out: what fails until then fails with its own status.
        first = await while_connected(request.receive, anext(generation))
        return EventStream(self._events(call, first, generation), source=generation)

    async def _generate(self, call: CompletionCall) -> AsyncGenerator[tuple[str, Chunk], None]:
        """The model's name with each chunk."""
        with self.metrics.watch() as watch:
            async with self._host.lease() as engine:
                info = await engine.info()
                if call.model not in (None, "", "default", info.name):
                    raise RequestError(
                        f"The model {call.model!r} is not served here.", hint=f"Ask for {info.name!r}, or leave it out."
                    )
                wanted = call.generate_request(fim_family=info.fim_family, request_id="")
                async for chunk in _closing(engine, wanted):
                    watch.saw(chunk)
                    yield info.name, chunk

    async def _whole(self, call: CompletionCall, generation: AsyncGenerator[tuple[str, Chunk], None]) -> Response:
        async with contextlib.aclosing(generation):
            named = [pair async for pair in generation]
        reply = CompletionReply(model=named[-1][0])
        chunks = [chunk for _, chunk in named]
        return JSONResponse(reply.whole(chunks, with_logprobs=call.sampling.logprobs is not None))

    async def _events(
        self, call: CompletionCall, first: tuple[str, Chunk], generation: AsyncGenerator[tuple[str, Chunk], None]
    ) -> AsyncGenerator[bytes, None]:
        name, chunk = first
        reply = CompletionReply(model=name)
        with_logprobs = call.sampling.logprobs is not None
        try:
            yield event(reply.chunk(chunk, with_logprobs=with_logprobs, continuous_usage=call.continuous_usage))
            async for _, chunk in generation:
                yield event(reply.chunk(chunk, with_logprobs=with_logprobs, continuous_usage=call.continuous_usage))
        except TerselyError as error:
            yield event(error_json(error)[1])
        except Exception:
            logger.exception("a stream failed")
            yield event(error_json(defect())[1])
        else:
            if call.include_usage and chunk.usage is not None:
                yield event(reply.usage_chunk(chunk.usage))
        yield DONE

    async def models(self, request: Request) -> Response:
        """The one model that is served; waits until it is loaded for the first time."""
        info = self._host.info
        if info is None:
            info = await while_connected(request.receive, self._load_info())
        return JSONResponse({"object": "list", "data": [model_json(info, created=self._created)]})

    async def _load_info(self) -> ModelInfo:
        async with self._host.lease() as engine:
            return await engine.info()

    async def tokenize(self, request: Request) -> Response:
        """Token counts, and ids where the engine tells them, of one text or several; without special tokens."""
        body = await _json(request)
        texts = parse_texts(body)
        return JSONResponse(await while_connected(request.receive, self._tokenized(texts)))

    async def health(self, request: Request) -> Response:
        """200 when requests are answered (an unloaded model loads on request), 503 with the state otherwise."""
        status = self._host.status
        up = status.state in (EngineState.READY, EngineState.IDLE)
        body: Json = {"status": "ok" if up else status.state.value}
        if request.scope.get("tersely.trusted", False):
            body |= {
                "state": status.state.value,
                "message": status.message,
                "hint": status.hint,
                "fraction": status.fraction,
                "model": self._host.name,
                "version": self._version,
                "pid": os.getpid(),
            }
        return JSONResponse(body, status_code=200 if up else 503)

    async def metrics_page(self, request: Request) -> Response:
        """Prometheus' text format."""
        return Response(self.metrics.page(), media_type=self.metrics.content_type)

    async def _tokenized(self, texts: tuple[str, ...]) -> Json:
        async with self._host.lease() as engine:
            info = await engine.info()
            ids = await engine.tokenize(texts) if isinstance(engine, Tokenizing) else None
            counts = await engine.count_tokens(texts) if ids is None else tuple(len(found) for found in ids)
        return {
            "count": sum(counts),
            "counts": counts,
            "tokens": None if ids is None else [token for found in ids for token in found],
            "token_lists": ids,
            "max_model_len": info.context_tokens,
        }


async def _closing(engine: Engine, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
    """The engine's chunks; closed with this generator, so that the request ends within one decode step."""
    chunks = engine.generate(request)
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


Handler = Callable[[Request], Awaitable[Response]]


def _answering(handler: Handler) -> Handler:
    """A handler whose errors become answers in OpenAI's shape."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (ClientGoneError, ClientDisconnect):
            return Response(status_code=499)  # nobody reads it; nginx's number for a client that closed
        except TerselyError as error:
            status, body = error_json(error)
            return JSONResponse(body, status_code=413 if isinstance(error, BodyTooLargeError) else status)
        except Exception:
            logger.exception("%s failed", request.url.path)
            status, body = error_json(defect())
            return JSONResponse(body, status_code=status)

    return answer


async def _json(request: Request) -> object:
    raw = await read_body(request)
    try:
        body: object = json.loads(raw)
        if b"\\ud" in raw.lower():
            json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The body is not JSON: {error}.", hint="Send a JSON object in UTF-8.") from error
    return body


async def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path} is not served here."
    _, body = error_json(RequestError(what, hint="See /v1/completions, /v1/models, /tokenize, /health, /metrics."))
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)
