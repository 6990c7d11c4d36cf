"""Answers conversations by a model that continues prompts: its template, its way to write calls, grammars. No HTTP.

Everything that `Chatting` promises for an engine that is `Templating`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from model import grammars
from model.api import Chunk, Engine, GenerateRequest, SamplingParams
from model.chat import ChatChunk, ChatRequest, Templating, Tool, ToolChoice
from model.errors import RequestError
from model.tool_formats import ToolFormat
from model.tool_reader import CallReader


class Conversing(Engine, Templating, Protocol):
    """An engine that continues prompts and knows its model's template."""


async def converse(engine: Conversing, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
    """Stream the answer. Raises `RequestError` for tools and schemas that cannot be followed."""
    tools = callable_tools(request)
    prompt = await engine.chat_prompt(request.messages, tools)
    form = await engine.tool_format() if tools else None
    asked = GenerateRequest(
        prompt=prompt,
        sampling=_sampling(request, form, tools),
        priority=request.priority,
        request_id=request.request_id,
    )
    reader = None if form is None else CallReader(form, tools)
    async with aclosing(_closing(engine, asked)) as chunks:
        async for chunk in chunks:
            text, calls = (chunk.text, ()) if reader is None else reader.feed(chunk.text)
            if chunk.finish_reason is None:
                if text or calls:
                    yield ChatChunk(text=text, tool_calls=calls)
                continue
            yield ChatChunk(
                text=text + (reader.finish() if reader is not None else ""),
                tool_calls=calls,
                finish_reason=chunk.finish_reason,
                usage=chunk.usage,
                timings=chunk.timings,
            )


def callable_tools(request: ChatRequest) -> tuple[Tool, ...]:
    """The tools that may be called in this answer. Raises `RequestError` where the one that must be is not there."""
    if request.tool_choice is ToolChoice.NONE:
        return ()
    if request.tool_choice is ToolChoice.REQUIRED and not request.tools:
        raise RequestError("A tool must be called, and there is none.", hint="Send `tools`.")
    if request.tool_name is None:
        return request.tools
    named = tuple(tool for tool in request.tools if tool.name == request.tool_name)
    if not named:
        raise RequestError(
            f"There is no tool named {request.tool_name!r}.",
            hint=f"Tools: {', '.join(tool.name for tool in request.tools)}.",
        )
    return named


def _sampling(request: ChatRequest, form: ToolFormat | None, tools: tuple[Tool, ...]) -> SamplingParams:
    grammar = request.sampling.grammar or (grammars.of_object() if request.json else None)
    if form is None:
        return replace(request.sampling, grammar=grammar)
    required = request.tool_choice is ToolChoice.REQUIRED
    if grammar is not None and not required:
        raise RequestError(
            "An answer that may be calls or text cannot be held to a format, too.",
            hint="Leave `response_format` or `tools` out, or set `tool_choice` to required or none.",
        )
    calls = form.grammar(tools, required=required, parallel=request.parallel)
    return replace(request.sampling, grammar=calls, control_text=True)


async def _closing(engine: Engine, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
    chunks = engine.generate(request)
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
