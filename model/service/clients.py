"""Routes for other people's clients: llama.cpp's `/infill`, OpenAI's chat, Mistral's FIM. Translates, and delegates."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from model.api import Chunk, Engine, ModelInfo
from model.chat import ChatChunk, ChatRequest, Chatting, Templating
from model.conversation import converse
from model.errors import RequestError
from model.service.chat_call import parse_chat, parse_fim
from model.service.chat_reply import ChatReply, as_chunk
from model.service.generation import Generations
from model.service.handler import answering, json_body
from model.service.infill import InfillReply, parse_infill, within


def client_routes(generations: Generations) -> list[Route]:
    """The routes, over the engine's generations."""
    clients = _Clients(generations)
    return [
        Route("/infill", answering(clients.infill), methods=["POST"]),
        Route("/v1/chat/completions", answering(clients.chat), methods=["POST"]),
        Route("/v1/fim/completions", answering(clients.fim), methods=["POST"]),
    ]


class _Clients:
    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def infill(self, request: Request) -> Response:
        """llama.cpp's "POST /infill"."""
        call = parse_infill(await json_body(request))

        async def opening(engine: Engine, info: ModelInfo) -> AsyncIterator[Chunk]:
            return within(call, engine.generate(call.generate_request(fim_family=info.fim_family)))

        return await self._generations.answer(
            request,
            self._generations.stream(None, opening, limit_tokens=call.sampling.max_tokens),
            stream=call.stream,
            reply=lambda name: InfillReply(model=name, response_fields=call.response_fields),
        )

    async def chat(self, request: Request) -> Response:
        """OpenAI's "Create chat completion", with tools."""
        call = parse_chat(await json_body(request))

        async def opening(engine: Engine, info: ModelInfo) -> AsyncIterator[Chunk]:
            return _conversation(engine, info, call.request)

        return await self._generations.answer(
            request,
            self._generations.stream(call.model, opening, limit_tokens=call.request.sampling.max_tokens),
            stream=call.stream,
            reply=lambda name: ChatReply(model=name, include_usage=call.include_usage),
        )

    async def fim(self, request: Request) -> Response:
        """Mistral's "FIM completion"."""
        call = parse_fim(await json_body(request))

        async def opening(engine: Engine, info: ModelInfo) -> AsyncIterator[Chunk]:
            return engine.generate(call.generate_request(fim_family=info.fim_family))

        return await self._generations.answer(
            request,
            self._generations.stream(call.model, opening, limit_tokens=call.sampling.max_tokens),
            stream=call.stream,
            reply=lambda name: ChatReply(model=name, usage_with_last=True),
        )


def _conversation(engine: Engine, info: ModelInfo, request: ChatRequest) -> AsyncIterator[Chunk]:
    if isinstance(engine, Chatting):
        return _as_chunks(engine.chat(request))
    if isinstance(engine, Templating):
        return _as_chunks(converse(engine, request))
    raise RequestError(f"{info.name} cannot converse.", hint="Use /v1/completions.")


async def _as_chunks(answer: AsyncGenerator[ChatChunk, None]) -> AsyncGenerator[Chunk, None]:
    async with aclosing(answer) as chunks:
        async for chunk in chunks:
            yield as_chunk(chunk)
