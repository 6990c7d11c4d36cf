"""A local server that plays the providers: their paths, headers, stream shapes, refusals and slowness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]

USAGE = {"prompt_tokens": 30, "completion_tokens": 3, "total_tokens": 33}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An answer that is none."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Player:
    """Answers each request with the next refusal, then with the pieces, in the shape of the path that was asked.

    `requests` are (path with query, headers, body). `cut` ends the stream without a finish reason.
    """

    pieces: tuple[str, ...] = ("a ", "+ ", "b")
    refusals: list[Refusal] = field(default_factory=list)
    usage: Json = field(default_factory=lambda: dict(USAGE))
    delay_s: float = 0.0
    cut: bool = False
    finish: str = "stop"
    deltas: tuple[Json, ...] = ()
    """Chat deltas in the place of `pieces`."""
    requests: list[tuple[str, Mapping[str, str], Json]] = field(default_factory=list)
    left: int = 0
    """Streams that the client closed before their end."""

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        query = f"?{request.url.query}" if request.url.query else ""
        self.requests.append((request.url.path + query, dict(request.headers), body))
        if self.refusals:
            refusal = self.refusals.pop(0)
            return JSONResponse(refusal.body, status_code=refusal.status, headers=dict(refusal.headers))
        talks = "chat" in request.url.path or "/fim/" in request.url.path
        told = "/fim/" in request.url.path or "random_seed" in body or "stream_options" not in body
        return StreamingResponse(self._stream(talks=talks, usage_with_last=told), media_type="text/event-stream")

    async def _stream(self, *, talks: bool, usage_with_last: bool) -> AsyncIterator[bytes]:
        ended = False
        try:
            yield b": comment\n\n"
            for delta in self.deltas or tuple({"content": piece} for piece in self.pieces):
                await asyncio.sleep(self.delay_s)
                yield _event({"choices": [_choice(delta, None, talks=talks)]})
            if not self.cut:
                last = {"choices": [_choice({"content": ""}, self.finish, talks=talks)]}
                if usage_with_last:
                    yield _event(last | {"usage": self.usage})
                else:
                    yield _event(last)
                    yield _event({"choices": [], "usage": self.usage})
                yield b"data: [DONE]\n\n"
            ended = True
        finally:
            self.left += not ended


def _choice(delta: Json, finish: str | None, *, talks: bool) -> Json:
    if talks:
        return {"index": 0, "delta": delta, "finish_reason": finish}
    return {"index": 0, "text": delta["content"], "logprobs": None, "finish_reason": finish}


def _event(body: Json) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"
