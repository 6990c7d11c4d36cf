"""The engine's HTTP face, a Starlette app: routes and handlers, which translate and delegate. Knows no process.

`/v1/completions`, `/v1/models`, `/tokenize`, `/health`, `/metrics`, `/feedback`, the page at `/` (see `page`), and what
other people's editors ask for (see `clients`). Shapes as OpenAI (completions, models, errors),
vLLM (`/tokenize`, `ignore_eos`, `continuous_usage_stats`) and llama.cpp (`/health` with 503 while loading) have them.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model.api import Chunk, Engine, ModelInfo, Tokenizing
from model.errors import RequestError
from model.service.clients import client_routes
from model.service.connection import while_connected
from model.service.gate import Gate
from model.service.generation import Generations
from model.service.handler import answering, json_body
from model.service.host import ModelHost
from model.service.metrics import Metrics
from model.service.page import file_routes, stats_routes
from model.service.reply import CompletionReply, Json, error_json, model_json
from model.service.request import parse_completion, parse_feedback, parse_texts
from model.service.stats import Stats
from model.status import EngineState


def create_app(host: ModelHost, *, token: str | None = None, version: str = "") -> Starlette:
    """The app that serves `host`'s model. `token`: what clients must show; None only where the socket is private.

    `app.state.metrics` has the counters.
    """
    service = Service(host, version=version)
    app = Starlette(
        routes=[
            Route("/v1/completions", answering(service.completions), methods=["POST"]),
            *client_routes(service.generations),
            Route("/v1/models", answering(service.models)),
            Route("/tokenize", answering(service.tokenize), methods=["POST"]),
            Route("/health", answering(service.health)),
            Route("/metrics", answering(service.metrics_page)),
            Route("/feedback", answering(service.feedback), methods=["POST"]),
            *file_routes(),
            *stats_routes(service.stats),
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
        self.metrics = Metrics(measures=host.measures)
        self.stats = Stats(host, self.metrics, version=version)
        self.generations = Generations(host, self.metrics)

    async def completions(self, request: Request) -> Response:
        """OpenAI's "Create completion"."""
        call = parse_completion(await json_body(request))

        async def opening(engine: Engine, info: ModelInfo) -> AsyncIterator[Chunk]:
            return engine.generate(call.generate_request(fim_family=info.fim_family, request_id=""))

        return await self.generations.answer(
            request,
            self.generations.stream(call.model, opening, limit_tokens=call.sampling.max_tokens),
            stream=call.stream,
            reply=lambda name: CompletionReply(
                model=name,
                with_logprobs=call.sampling.logprobs is not None,
                continuous_usage=call.continuous_usage,
                include_usage=call.include_usage,
            ),
        )

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
        body = await json_body(request)
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

    async def feedback(self, request: Request) -> Response:
        """What became of suggestions, as the language server tells it: counts for the page and `/metrics`."""
        self.metrics.heard(parse_feedback(await json_body(request)))
        return Response(status_code=204)

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


async def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path} is not served here."
    _, body = error_json(
        RequestError(what, hint="See /v1/completions, /v1/chat/completions, /infill, /v1/models, /tokenize, /health.")
    )
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)
