"""`Engine` over a hosted model: holes and conversations in, streams out, every request accounted for.

Knows no HTTP (`client`), no field names (`body`, `answer`), and no way to start processes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Self

from model.api import Chunk, EngineTimings, FinishReason, GenerateRequest, ModelInfo, Usage
from model.chat import ChatChunk, ChatRequest
from model.chat_wire import CallPieces
from model.errors import EngineUnavailableError, RequestError
from model.hosted import hole as holes
from model.hosted.accounting import Ledger, ledger_path, prices_path, read_prices
from model.hosted.address import HostedModel, parse_hosted
from model.hosted.answer import Delta, delta_of
from model.hosted.body import chat_body, completion_body
from model.hosted.client import HostedClient
from model.hosted.fences import FenceStripper
from model.hosted.instruction import hole_messages
from model.hosted.keys import find_key
from model.hosted.provider import Kind
from model.stop import StopGuard

CONTEXT_TOKENS = 32_768
"""Told of every hosted model: no provider's API tells, and all of today's have more."""
SETTLE_S = 0.2
"""Providers charge for every prompt: while keys come faster than this, none is sent."""
_BYTES_PER_TOKEN = 3.5


@dataclass(slots=True)
class _Account:
    """One request as it goes on. What the server does not tell by the end is estimated."""

    sent: str
    began_s: float = field(default_factory=time.perf_counter)
    first_s: float | None = None
    received: str = ""
    usage: Usage | None = None
    end: str = "closed"

    def saw(self, delta: Delta) -> None:
        """Take note of an event."""
        self.received += delta.text
        self.usage = delta.usage or self.usage
        if delta.finish_reason is not None:
            self.end = delta.finish_reason.value
        if self.first_s is None and delta.text:
            self.first_s = time.perf_counter()

    def counted(self) -> Usage:
        """The server's counts, or our estimate."""
        return self.usage or Usage(
            prompt_tokens=_estimate(self.sent), cached_tokens=0, completion_tokens=_estimate(self.received)
        )

    def timings(self) -> EngineTimings:
        """As seen from here, the net included."""
        now_s = time.perf_counter()
        first_s = now_s if self.first_s is None else self.first_s
        return EngineTimings(prefill_ms=(first_s - self.began_s) * 1000, decode_ms=(now_s - first_s) * 1000)


class HostedEngine:
    """`model.api.Engine` and `model.chat.Chatting` over one hosted model. Use `open`; close with `aclose`.

    A model that fills holes gets prefix and suffix apart; one that only converses gets an instruction with the code in
    it, and its answer is taken out of code fences.
    """

    def __init__(self, model: HostedModel, client: HostedClient, ledger: Ledger, *, settle_s: float = 0.0) -> None:
        """`settle_s`: how long a hole waits before it is sent; one that is superseded within it costs nothing."""
        self._model = model
        self._settle_s = settle_s
        self._client = client
        self._ledger = ledger

    @classmethod
    def open(cls, spelling: str) -> Self:
        """The engine for `PROVIDER[/KIND]:MODEL[@BASE_URL]`, with the user's key and prices; connects to nothing.

        Raises `UsageError` for a spelling or a table of prices that will not do, `EngineAuthError` without a key.
        """
        model = parse_hosted(spelling)
        ledger = Ledger(ledger_path(), read_prices(prices_path()))
        return cls(model, HostedClient(model, find_key(model)), ledger, settle_s=SETTLE_S)

    async def info(self) -> ModelInfo:
        return ModelInfo(
            name=self._model.name,
            architecture="hosted",
            fim_family=holes.FAMILY,
            context_tokens=CONTEXT_TOKENS,
            device=self._model.host,
            quantization="unknown",
        )

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """Estimates from the length: providers have no such call."""
        return tuple(_estimate(text) for text in texts)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        if request.sampling.ignore_eos:
            raise RequestError("Hosted models end where they end.", hint="Leave `ignore_eos` out.")
        hole = holes.read_hole(request.prompt)
        chats = self._model.kind is Kind.CHAT
        if chats:
            asked = ChatRequest(messages=hole_messages(hole), sampling=request.sampling)
            body = chat_body(self._model, asked)
        else:
            body = completion_body(self._model, hole, request.sampling)
        await asyncio.sleep(self._settle_s)
        account = _Account(sent=_words(body))
        guard = StopGuard(request.sampling.stop)
        fence = FenceStripper() if chats else None
        async with aclosing(self._deltas(body, account)) as deltas:
            async for delta in deltas:
                text = guard.add(delta.text if fence is None else fence.feed(delta.text))
                if text or delta.logprobs:
                    yield Chunk(text=text, logprobs=delta.logprobs)
                if guard.stopped or (fence is not None and fence.ended):
                    account.end = FinishReason.STOP.value
                    break
        rest = ("" if fence is None else guard.add(fence.close())) + guard.finish()
        if rest:
            yield Chunk(text=rest)
        yield Chunk(finish_reason=FinishReason(account.end), usage=account.counted(), timings=account.timings())

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Stream the answer of a conversation; tool calls come whole, with the last chunk."""
        body = chat_body(self._model, request)
        account = _Account(sent=_words(body))
        guard = StopGuard(request.sampling.stop)
        calls = CallPieces()
        async with aclosing(self._deltas(body, account)) as deltas:
            async for delta in deltas:
                calls.add(delta.calls)
                text = guard.add(delta.text)
                if text:
                    yield ChatChunk(text=text)
                if guard.stopped:
                    account.end = FinishReason.STOP.value
                    break
        rest = guard.finish()
        if rest:
            yield ChatChunk(text=rest)
        yield ChatChunk(tool_calls=calls.calls(), finish_reason=FinishReason(account.end), usage=account.counted())

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _deltas(self, body: Mapping[str, Any], account: _Account) -> AsyncGenerator[Delta, None]:
        """The stream, accounted for however it ends; one without a finish reason broke off."""
        finished = begun = False
        try:
            async with aclosing(self._client.events(body)) as events:
                async for event in events:
                    begun = True
                    delta = delta_of(event)
                    account.saw(delta)
                    finished = finished or delta.finish_reason is not None
                    yield delta
            if not finished:
                raise EngineUnavailableError(f"The answer of {self._model.host} broke off.", hint="Try again.")
        finally:
            if begun:  # what was refused costs nothing
                self._ledger.record(
                    model=self._model.name,
                    host=self._model.host,
                    end=account.end,
                    usage=account.counted(),
                    estimated=account.usage is None,
                )


def _estimate(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN)


def _words(body: Mapping[str, Any]) -> str:
    """The text of a request that becomes tokens."""
    return "".join(
        (
            body.get("prompt", ""),
            body.get("suffix", ""),
            *(message["content"] for message in body.get("messages", ())),
        )
    )
