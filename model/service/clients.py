"""Routes for other people's clients: llama.cpp's `/infill`, OpenAI's chat, Mistral's FIM. Translates, and delegates."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from model.api import Chunk, Engine, GenerateRequest, ModelInfo
from model.chat import ChatRequest, Chatting, Templating
from model.errors import RequestError
from model.service.chat_call import ChatCall, ChatReply, parse_chat, parse_fim
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
        """OpenAI's "Create chat completion", without tools."""
        call = parse_chat(await json_body(request))

        async def opening(engine: Engine, info: ModelInfo) -> AsyncIterator[Chunk]:
            return await _conversation(engine, info, call)

        return await self._generations.answer(
            request,
            self._generations.stream(call.model, opening, limit_tokens=call.sampling.max_tokens),
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


async def _conversation(engine: Engine, info: ModelInfo, call: ChatCall) -> AsyncIterator[Chunk]:
    if isinstance(engine, Chatting):
        return _as_chunks(engine, ChatRequest(messages=call.messages, sampling=call.sampling))
    if isinstance(engine, Templating):
        prompt = await engine.chat_prompt(call.messages)
        return engine.generate(GenerateRequest(prompt=prompt, sampling=call.sampling))
    raise RequestError(f"{info.name} cannot converse.", hint="Use /v1/completions.")


async def _as_chunks(engine: Chatting, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
    async with aclosing(engine.chat(request)) as chunks:
        async for chunk in chunks:
            yield Chunk(text=chunk.text, finish_reason=chunk.finish_reason, usage=chunk.usage)
