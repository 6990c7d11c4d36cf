"""Ask a hosted model over HTTPS: send, try again, read the stream. Knows no prompts and what no field means.

httpx is loaded with the first request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from model import wire
from model.errors import EngineBusyError, EngineError, EngineUnavailableError, EngineUnreachableError
from model.hosted.address import HostedModel
from model.hosted.keys import Key
from model.hosted.limits import RETRIED, Limits, delay_s, retry_after_s
from model.service.address import is_loopback
from model.sse import EventDecoder

if TYPE_CHECKING:
    import httpx

_ERROR_BYTES = 64 << 10
_HINTS = {
    401: "The key is wrong or withdrawn: set a valid one, then `tersely stop`.",
    402: "The account has no credit left: see the provider's billing page.",
    403: "The key may not use this model: see the provider's console.",
    404: "Is the model's name right, and its kind? A model that only converses is written PROVIDER/chat:MODEL.",
}

logger = logging.getLogger(__name__)


class HostedClient:
    """Posts to one hosted model. `sleep` is what waits between tries.

    What a server asks us to wait holds for all requests of this client.
    """

    def __init__(
        self,
        model: HostedModel,
        key: Key | None,
        *,
        limits: Limits | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._model = model
        self._key = key
        self._limits = limits or Limits()
        self._sleep = sleep
        self._http: httpx.AsyncClient | None = None
        self._not_before_s = 0.0

    async def events(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a streamed answer, or the one object of an answer in one piece.

        Closing this closes the connection. Raises `EngineAuthError`, `EngineBusyError`, `EngineUnavailableError` and
        `RequestError`; no message of theirs holds the key. Once an answer has begun, nothing is tried again.
        """
        deadline_s = asyncio.get_running_loop().time() + self._limits.total_s
        response = await self._open(body, deadline_s)
        try:
            if "text/event-stream" in response.headers.get("content-type", ""):
                async with contextlib.aclosing(self._stream(response, deadline_s)) as events:
                    async for event in events:
                        yield event
            else:
                yield self._parsed(await self._whole(response, deadline_s))
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def _open(self, body: Mapping[str, Any], deadline_s: float) -> httpx.Response:
        """Send until there is an answer; only refusals that may pass, and lost connections, are tried again."""
        for attempt in range(self._limits.tries):
            await self._turn()
            asked_s: float | None = None
            try:
                response = await self._send(body, deadline_s)
            except EngineUnavailableError as error:
                failure: EngineError = error
            else:
                if response.status_code == 200:
                    return response
                asked_s = retry_after_s(response.headers.get("retry-after"))
                failure = await self._failure(response, asked_s, deadline_s)
                if response.status_code not in RETRIED:
                    raise failure
            wait_s = delay_s(self._limits, attempt, asked_s)
            now_s = asyncio.get_running_loop().time()
            if asked_s is not None:
                self._not_before_s = max(self._not_before_s, now_s + asked_s)
            last = attempt + 1 == self._limits.tries
            if last or wait_s > self._limits.longest_wait_s or now_s + wait_s > deadline_s:
                raise failure
            logger.info(
                "%s: try %d failed (%s); again in %.1f s", self._where, attempt + 1, type(failure).__name__, wait_s
            )
            await self._sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    async def _turn(self) -> None:
        """Refuse while the server has asked for more patience than we have; wait where it is little."""
        wait_s = self._not_before_s - asyncio.get_running_loop().time()
        if wait_s > self._limits.longest_wait_s:
            raise EngineBusyError(
                f"{self._where} asked for a pause of {wait_s:.0f} s more.", hint="Wait, or use another model meanwhile."
            )

    async def _send(self, body: Mapping[str, Any], deadline_s: float) -> httpx.Response:
        client = self._client()
        headers = {"Accept": "text/event-stream, application/json"}
        if self._key is not None:
            provider = self._model.provider
            headers[provider.key_header] = provider.key_scheme + self._key.reveal()
        request = client.build_request("POST", self._model.url, json=body, headers=headers)
        with self._reachable():
            async with self._in_time(self._limits.first_byte_s, deadline_s):
                return await client.send(request, stream=True)

    async def _failure(self, response: httpx.Response, asked_s: float | None, deadline_s: float) -> EngineError:
        """Our error for an answer that is none; the server's words without the key."""
        status = response.status_code
        raw = b""
        try:
            with self._reachable():
                async with self._in_time(self._limits.between_s, deadline_s):
                    async for piece in response.aiter_bytes():
                        raw += piece
                        if len(raw) > _ERROR_BYTES:
                            break
        except EngineUnavailableError as broken:
            logger.info("%s: the answer to status %d broke off: %s", self._where, status, broken.message)
        finally:
            await response.aclose()
        try:
            body: object = json.loads(raw)
        except ValueError:
            body = None
        error = wire.error_of(status, body, where=self._where)
        hint = _HINTS.get(status, error.hint)
        if status == 429 and asked_s is not None:
            hint = f"It asks to wait {asked_s:.0f} s."
        return type(error)(self._hidden(error.message), hint=self._hidden(hint))

    async def _stream(self, response: httpx.Response, deadline_s: float) -> AsyncGenerator[dict[str, Any], None]:
        decoder = EventDecoder()
        pieces = response.aiter_bytes()
        while True:
            with self._reachable():
                async with self._in_time(self._limits.between_s, deadline_s):
                    piece = await anext(pieces, None)
            for data in decoder.close() if piece is None else decoder.feed(piece):
                if data.strip() == "[DONE]":
                    return
                yield self._parsed(data)
            if piece is None:
                return

    async def _whole(self, response: httpx.Response, deadline_s: float) -> bytes:
        with self._reachable():
            async with self._in_time(self._limits.first_byte_s, deadline_s):
                return await response.aread()

    def _parsed(self, data: str | bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except ValueError as error:
            raise self._no_api() from error
        if not isinstance(event, dict):
            raise self._no_api()
        if event.get("error"):
            failure = wire.stream_error(event["error"], where=self._where)
            raise type(failure)(self._hidden(failure.message), hint=self._hidden(failure.hint))
        return event

    def _no_api(self) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"{self._where} does not answer as {self._model.provider.name} does.", hint="Check the address."
        )

    @property
    def _where(self) -> str:
        return self._model.host

    def _hidden(self, text: str) -> str:
        return text if self._key is None else self._key.hide_in(text)

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx

            limits = self._limits
            self._http = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=limits.connect_s),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30.0),
                trust_env=not is_loopback(self._model.host),
                follow_redirects=False,  # a key does not follow to another host
            )
        return self._http

    @contextlib.asynccontextmanager
    async def _in_time(self, seconds: float, deadline_s: float) -> AsyncGenerator[None, None]:
        now_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now_s + seconds, deadline_s)):
                yield
        except TimeoutError as error:
            raise EngineUnavailableError(
                f"{self._where} did not answer in time.", hint="Try again, or ask for a smaller model."
            ) from error

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Connection trouble becomes our errors."""
        import httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise EngineUnreachableError(
                f"{self._where} cannot be reached ({self._hidden(str(error))}).",
                hint="Is this machine on the net? Check the address.",
            ) from error
        except httpx.HTTPError as error:
            raise EngineUnavailableError(
                f"The connection to {self._where} broke ({type(error).__name__}).", hint="Try again."
            ) from error
