"""An engine behind HTTP: tersely's own server, or any that speaks OpenAI's completions (vLLM, SGLang, llama.cpp).

Knows no processes and starts none. httpx is loaded with the first request, so that importing this costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from model import chat_wire, fim, wire
from model.api import Chunk, EngineTimings, Feedback, FinishReason, GenerateRequest, ModelInfo, Usage
from model.chat import ChatChunk, ChatRequest
from model.errors import EngineUnavailableError, EngineUnreachableError, RequestError, UsageError
from model.service.address import is_loopback, shown_url
from model.sse import EventDecoder
from model.status import EngineState, EngineStatus

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 120.0
_BYTES_PER_TOKEN = 3.5
_LOCAL_URL = "http://localhost"
_NO_COUNTS = Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)


class HttpEngine:
    """`Engine` and `Chatting` over HTTP.

    `url` is the server's base, with or without `/v1`; with `socket_path` the connection is a Unix socket. `model`
    picks one where several are served, `fim_family` tells what a server without `/tokenize` cannot be asked.
    Segments go to tersely's own server as they are; others get text with the control tokens spelled out, and what
    the user wrote in their spelling is broken up. Raises `UsageError` for what is no URL.
    """

    def __init__(
        self,
        url: str = _LOCAL_URL,
        *,
        socket_path: Path | None = None,
        token: str | None = None,
        model: str | None = None,
        fim_family: str | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._url = _base(url)
        self._socket_path = socket_path
        self._token = token
        self._model = model
        self._fim_family = fim_family
        self._timeouts_s = (connect_timeout_s, read_timeout_s)
        self._http: httpx.AsyncClient | None = None
        self._listed: wire.ListedModel | None = None
        self._listing = asyncio.Lock()
        self._tokenizes = True

    @property
    def where(self) -> str:
        """The server, for people."""
        return str(self._socket_path) if self._socket_path is not None else shown_url(self._url)

    async def info(self) -> ModelInfo:
        """The model that is served; on tersely's own server this waits until it is loaded."""
        return (await self._served()).info

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        served = await self._served()
        body = wire.request_json(request, served.info, native=served.native)
        async with (
            contextlib.aclosing(self._events("/v1/completions", body)) as events,
            contextlib.aclosing(_in_our_order(events, where=self.where)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Answer a conversation by the server's own template, with tools where it has them."""
        served = await self._served()
        body = chat_wire.request_json(request, served.info, native=served.native)
        calls = chat_wire.CallPieces()
        last = ChatChunk()
        async with contextlib.aclosing(self._events("/v1/chat/completions", body)) as events:
            async for event in events:
                if event is None:
                    break
                chunk = chat_wire.chunk_of(event, calls)
                last = replace(
                    chunk,
                    finish_reason=chunk.finish_reason or last.finish_reason,
                    usage=chunk.usage or last.usage,
                    timings=chunk.timings or last.timings,
                )
                if chunk.text:
                    yield ChatChunk(text=chunk.text)
        if last.finish_reason is None:
            raise self._broke_off()
        yield replace(last, text="", tool_calls=calls.calls(), usage=last.usage or _NO_COUNTS)

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """Token counts; estimated from the length where the server has no `/tokenize`."""
        served = await self._served()
        if served.native:
            body = await self._call("POST", "/tokenize", {"texts": texts})
            return tuple(body["counts"])
        counts: list[int] = []
        for text in texts:
            ids = await self._foreign_ids(wire.defused(text), served.info.name)
            counts.append(math.ceil(len(text.encode()) / _BYTES_PER_TOKEN) if ids is None else len(ids))
        return tuple(counts)

    async def status(self) -> EngineStatus:
        """What `/health` says. Raises `EngineUnavailableError` when nothing answers there."""
        response = await self._send("GET", "/health")
        body = _json_or_none(response)
        if not isinstance(body, dict) or "state" not in body:
            state = EngineState.READY if response.status_code == 200 else EngineState.LOADING
            return EngineStatus(state=state, message=f"{self.where} answers with status {response.status_code}.")
        return EngineStatus(
            state=EngineState(body["state"]),
            message=body.get("message", ""),
            hint=body.get("hint", ""),
            fraction=body.get("fraction"),
        )

    async def hear(self, feedback: Feedback) -> None:
        """Pass feedback on to tersely's own server on this machine; others are told nothing."""
        if self._is_here and (await self._served()).native:
            response = await self._send("POST", "/feedback", asdict(feedback))
            if response.is_error:
                raise wire.error_of(response.status_code, _json_or_none(response), where=self.where)

    @property
    def _is_here(self) -> bool:
        return self._socket_path is not None or is_loopback(urlsplit(self._url).hostname or "")

    async def aclose(self) -> None:
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def _served(self) -> wire.ListedModel:
        async with self._listing:
            if self._listed is None:
                listed = wire.listed_model(await self._call("GET", "/v1/models"), wanted=self._model)
                if not listed.native:
                    family = self._fim_family or await self._find_family(listed.info.name)
                    listed = replace(listed, info=replace(listed.info, fim_family=family))
                self._listed = listed
            return self._listed

    async def _find_family(self, model: str) -> str:
        """The FIM family by vocabulary: a control token that the server knows is one token."""
        known: dict[str, bool] = {}
        for row in fim.FORMATS.values():
            if not row.by_vocabulary:
                continue
            for token in row.marks:
                if token not in known:
                    ids = await self._foreign_ids(token, model)
                    if ids is None:
                        return fim.NONE
                    known[token] = len(ids) == 1
                if not known[token]:
                    break
            else:
                return row.family
        return fim.NONE

    async def _foreign_ids(self, text: str, model: str) -> list[int] | None:
        """Ids by `/tokenize` as vLLM (`prompt`) and llama.cpp (`content`) have it; None where there is none."""
        if not self._tokenizes:
            return None
        body = {"model": model, "prompt": text, "content": text, "add_special_tokens": False, "parse_special": True}
        try:
            answer = await self._call("POST", "/tokenize", body)
        except RequestError:
            answer = {}
        if not isinstance(answer.get("tokens"), list):
            self._tokenizes = False
            return None
        return list(answer["tokens"])

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = await self._send(method, path, body)
        answer = _json_or_none(response)
        if response.status_code >= 400:
            raise wire.error_of(response.status_code, answer, where=self.where)
        if not isinstance(answer, dict):
            raise self._no_engine(path)
        return answer

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        client = self._client()
        with self._reachable():
            return await client.request(method, path, json=body)

    async def _events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any] | None, None]:
        """The events of a streamed answer, None for `[DONE]`. Leaving early closes the connection."""
        decoder = EventDecoder()
        client = self._client()
        with self._reachable():
            async with client.stream("POST", path, json=body) as response:
                if response.status_code >= 400:
                    await response.aread()
                    raise wire.error_of(response.status_code, _json_or_none(response), where=self.where)
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    raise self._no_engine(path)
                async for piece in response.aiter_bytes():
                    for data in decoder.feed(piece):
                        yield self._parsed(data)
                for data in decoder.close():
                    yield self._parsed(data)

    def _parsed(self, data: str) -> dict[str, Any] | None:
        if data == "[DONE]":
            return None
        try:
            event = json.loads(data)
        except ValueError as error:
            raise EngineUnavailableError(
                f"{self.where} sent what is not JSON: {data[:80]!r}.", hint="Is it an OpenAI-compatible server?"
            ) from error
        if not isinstance(event, dict):
            raise self._no_engine("/v1/completions")
        if event.get("error"):
            raise wire.stream_error(event["error"], where=self.where)
        return event

    def _broke_off(self) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"The answer of {self.where} broke off.", hint="Try again; the engine may have been stopped."
        )

    def _no_engine(self, path: str) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"{self.where}{path} does not answer as an OpenAI-compatible server does.", hint="Check the URL."
        )

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx

            connect_s, read_s = self._timeouts_s
            transport = None if self._socket_path is None else httpx.AsyncHTTPTransport(uds=str(self._socket_path))
            self._http = httpx.AsyncClient(
                base_url=self._url,
                transport=transport,
                headers={} if self._token is None else {"Authorization": f"Bearer {self._token}"},
                timeout=httpx.Timeout(read_s, connect=connect_s),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=4.0),
                # A proxy of the environment is for the world outside, never for this machine.
                trust_env=not self._is_here,
            )
        return self._http

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Connection trouble becomes `EngineUnavailableError`."""
        import httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise EngineUnreachableError(
                f"Nothing answers at {self.where} ({error}).", hint="Start the engine there, or correct the address."
            ) from error
        except httpx.TimeoutException as error:
            raise EngineUnavailableError(
                f"{self.where} did not answer in time ({type(error).__name__}).", hint="Is the machine overloaded?"
            ) from error
        except httpx.HTTPError as error:
            raise EngineUnavailableError(
                f"The connection to {self.where} broke: {error or type(error).__name__}.",
                hint="Try again; the engine may have been stopped.",
            ) from error


async def _in_our_order(events: AsyncIterator[dict[str, Any] | None], *, where: str) -> AsyncGenerator[Chunk, None]:
    """Chunks as `Engine.generate` promises them: the finish reason comes last, with counts and timings.

    Servers send the counts after the finish reason, or not at all; then the chunks with text are counted.
    """
    reason: FinishReason | None = None
    usage: Usage | None = None
    timings: EngineTimings | None = None
    pieces = 0
    async for event in events:
        if event is None:
            break
        chunk = wire.chunk_of(event)
        pieces += bool(chunk.text)
        usage, timings = chunk.usage or usage, chunk.timings or timings
        reason = chunk.finish_reason or reason
        if chunk.text or chunk.logprobs:
            yield replace(chunk, finish_reason=None)
    if reason is None:
        raise EngineUnavailableError(
            f"The answer of {where} broke off.", hint="Try again; the engine may have been stopped."
        )
    counted = usage or Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=pieces)
    yield Chunk(finish_reason=reason, usage=counted, timings=timings or EngineTimings())
    async for _ in events:
        pass  # a connection that was read to its end serves the next request too


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(
            f"{shown_url(url)!r} is not the address of a server.", hint="Write it as http://127.0.0.1:8000."
        )
    return url.rstrip("/").removesuffix("/v1")


def _json_or_none(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
