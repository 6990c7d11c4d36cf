"""Asks a model that follows instructions for calls: with tools where it has them, else in JSON mode.

Works with every `Chatting` engine: our own, any OpenAI-compatible server, hosted APIs.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import Protocol

from completion.refactor import layout, words
from completion.refactor.asking import AskingTuned
from completion.refactor.calls import AnyCall, FindSymbol, LookingCall, SymbolName
from completion.refactor.grammar import field_types, symbols
from completion.refactor.plan import Look
from completion.refactor.planner import Answer
from completion.refactor.schema import decode
from completion.refactor.wish import View, Wish
from model.api import Engine, FinishReason, Priority, SamplingParams
from model.chat import ChatChunk, ChatRequest, Chatting, Message, Role, ToolCall, ToolChoice
from model.errors import RequestError, UsageError

MOST_ANSWER_TOKENS = 2048
_FOUND = re.compile(r"::[^\n]* lines \d+-\d+")
"""What `completion.refactor.tools.looking` says of a symbol that there is."""


class ChattingEngine(Engine, Chatting, Protocol):
    """An engine that continues prompts, and converses."""


class AskingModel:
    """`Asking` over whatever is served: the tuned model in its own layout, all others in words."""

    def __init__(self, engine: ChattingEngine, *, priority: Priority = Priority.INTERACTIVE) -> None:
        self._engine = engine
        self._tuned = AskingTuned(engine, priority=priority)
        self._chat = AskingChat(engine, priority=priority)

    async def ask(self, wish: Wish, look: Look, *, most_tokens: int, complaints: tuple[str, ...] = ()) -> Answer:
        """As the served model was trained to be asked; its engine says so by its family."""
        tuned = (await self._engine.info()).fim_family == layout.FAMILY
        asking = self._tuned if tuned else self._chat
        return await asking.ask(wish, look, most_tokens=most_tokens, complaints=complaints)


class AskingChat:
    """`Asking` in words. A server that refuses tools is asked in JSON mode from then on."""

    def __init__(self, engine: Chatting, *, priority: Priority = Priority.INTERACTIVE) -> None:
        self._engine = engine
        self._priority = priority
        self._takes_tools = True

    async def ask(self, wish: Wish, look: Look, *, most_tokens: int, complaints: tuple[str, ...] = ()) -> Answer:
        """The calls, all of them valid and about symbols that exist, or a complaint."""
        messages = words.conversation(wish, complaints)
        sampling = SamplingParams(max_tokens=min(most_tokens, MOST_ANSWER_TOKENS))
        last = await self._answered(wish, messages, sampling)
        usage = last.usage
        counted = Answer(
            prompt_tokens=usage.prompt_tokens if usage else 0,
            cached_tokens=usage.cached_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
        )
        try:
            calls = tuple(decode(call.name, call.arguments or "{}") for call in self._calls(last))
        except UsageError as error:
            cut = " The answer was cut off." if last.finish_reason is FinishReason.LENGTH else ""
            return replace(counted, complaint=f"{error}{cut}")
        complaint = await asyncio.to_thread(_unknown, calls, wish, look)
        return replace(counted, calls=calls, complaint=complaint)

    async def _answered(self, wish: Wish, messages: tuple[Message, ...], sampling: SamplingParams) -> ChatChunk:
        """The whole answer as one chunk."""
        told = words.tools(wish)
        if self._takes_tools:
            request = ChatRequest(
                messages=messages,
                tools=told,
                tool_choice=ToolChoice.REQUIRED,
                sampling=sampling,
                priority=self._priority,
            )
            try:
                return await _whole(self._engine, request)
            except RequestError as error:
                if "tool" not in error.message.lower():
                    raise
                self._takes_tools = False
        system = Message(role=messages[0].role, text=f"{messages[0].text}\n\n{words.in_words(told)}")
        plain = tuple(_plain(message) for message in messages[1:])
        request = ChatRequest(messages=(system, *plain), json=True, sampling=sampling, priority=self._priority)
        return await _whole(self._engine, request)

    def _calls(self, last: ChatChunk) -> tuple[ToolCall, ...]:
        if self._takes_tools:
            return last.tool_calls
        try:
            listed = json.loads(last.text)["calls"]
            return tuple(ToolCall("", str(one["name"]), json.dumps(one.get("arguments") or {})) for one in listed)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                "The answer is not a JSON object with `calls`.",
                hint='Write {"calls": [{"name": …, "arguments": {…}}]}.',
            ) from error


async def _whole(engine: Chatting, request: ChatRequest) -> ChatChunk:
    text, calls, last = "", list[ToolCall](), ChatChunk()
    stream = engine.chat(request)
    try:
        async for last in stream:
            text += last.text
            calls += last.tool_calls
    finally:
        await stream.aclose()
    return replace(last, text=text, tool_calls=tuple(calls))


def _plain(message: Message) -> Message:
    """Calls and results as text, for models that are not told of tools."""
    if message.call_id is not None:
        return Message(role=Role.USER, text=f"Result of {message.name}:\n{message.text}")
    if message.tool_calls:
        calls = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in message.tool_calls]
        return Message(role=message.role, text=json.dumps({"calls": calls}, ensure_ascii=False))
    return message


def _unknown(calls: tuple[AnyCall, ...], wish: Wish, look: Look) -> str:
    """Says which symbol that a call acts on does not exist; "" where all do."""
    known = set(symbols(wish))
    for call in calls:
        if isinstance(call, LookingCall):
            continue
        for field, hint in field_types(type(call)).items():
            if hint == SymbolName and not _exists(str(getattr(call, field)), known, wish.view, look):
                return f"There is no symbol {getattr(call, field)!r}: use find_symbol, or decline."
    return ""


def _exists(name: str, known: set[str], view: View, look: Look) -> bool:
    bare = name.removeprefix(f"{view.path}::")
    if {name, bare} & known or any(one.endswith(f"::{name}") for one in known):
        return True
    if re.search(rf"(?<!\w){re.escape(bare.rpartition('.')[2])}(?!\w)", view.selected):
        return True  # a local name, which no outline has
    path, _, dotted = name.rpartition("::")
    holders = [dotted, dotted.rpartition(".")[0]]
    wanted = [FindSymbol(symbol=f"{path}::{one}" if path else one) for one in holders if one]
    return any(_FOUND.search(look(one)) for one in wanted)
