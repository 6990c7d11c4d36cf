"""The engine that clients hold: finds or starts the process, tells how it does, and starts it again when it dies.

Knows HTTP through `HttpEngine` only, and loads no model itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from model.api import Chunk, Feedback, GenerateRequest, ModelInfo
from model.chat import ChatChunk, ChatRequest
from model.errors import EngineUnavailableError, EngineUnreachableError, TerselyError
from model.remote import HttpEngine
from model.service import launcher
from model.service.options import EngineOptions
from model.status import EngineState, EngineStatus, StatusListener

_POLL_S = 0.15
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


class ManagedEngine:
    """`Engine` over a process that is started on demand, or over a given server.

    With `url` nothing is started: `token`, `model` and `fim_family` are for that server (see `HttpEngine`). Otherwise
    `options` say what to serve. A request waits while the engine starts and loads. The request during which the engine
    dies gets `EngineUnavailableError`, and the engine is started again at once. While it keeps dying, it is started
    again by a request, after a delay that grows from half a second to half a minute; requests within it are refused.
    """

    def __init__(
        self,
        options: EngineOptions | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        model: str | None = None,
        fim_family: str | None = None,
        first_delay_s: float = _FIRST_DELAY_S,
    ) -> None:
        self._options = options or EngineOptions()
        self._server = None if url is None else (url, token, model, fim_family)
        if url is not None:
            HttpEngine(url)  # a bad address is told here, not with the first key
        self._first_delay_s = first_delay_s
        self._remote: HttpEngine | None = None
        self._connecting: asyncio.Task[HttpEngine] | None = None
        self._failures = 0
        self._not_before_s = 0.0
        self._status = EngineStatus(state=EngineState.IDLE, message="Not started yet.")
        self._listeners: list[StatusListener] = []

    @property
    def status(self) -> EngineStatus:
        """What the engine was doing when we last looked."""
        return self._status

    def on_status(self, listener: StatusListener) -> Callable[[], None]:
        """Call `listener` with the status now and at each change; returns how to stop that."""
        self._listeners.append(listener)
        listener(self._status)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def warm_up(self) -> None:
        """Start and load in the background, unless that is done or under way; needs a running event loop."""
        if self._remote is None and not self._must_wait():
            self._connect()

    async def info(self) -> ModelInfo:
        return await self._ask(HttpEngine.info)

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return await self._ask(lambda remote: remote.count_tokens(texts))

    async def hear(self, feedback: Feedback) -> None:
        """Pass feedback on, if the engine is there: none is started for it, and none is missed."""
        if self._remote is not None:
            await self._remote.hear(feedback)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        async with contextlib.aclosing(self._streamed(lambda remote: remote.generate(request))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _streamed(self, opening: Callable[[HttpEngine], AsyncGenerator[_T, None]]) -> AsyncGenerator[_T, None]:
        """What a stream of the server's brings; opened anew once, where the first reached nobody."""
        for last_try in (False, True):
            remote = await self._ready()
            try:
                async with contextlib.aclosing(opening(remote)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                self._failures = 0
                return
            except EngineUnavailableError as error:
                await self._lost(remote, error)
                # It exited while nobody asked: the request reached nobody, so it can go to the next one.
                if last_try or not isinstance(error, EngineUnreachableError):
                    raise

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Answer a conversation; tried again as a generation is."""
        async with contextlib.aclosing(self._streamed(lambda remote: remote.chat(request))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """Let go of the connection; the process goes on for others."""
        self._listeners.clear()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._remote is not None:
            remote, self._remote = self._remote, None
            await remote.aclose()

    async def _ask(self, question: Callable[[HttpEngine], Awaitable[_T]]) -> _T:
        remote = await self._ready()
        try:
            return await question(remote)
        except EngineUnavailableError as error:
            await self._lost(remote, error)
            if not isinstance(error, EngineUnreachableError):
                raise
        return await question(await self._ready())

    async def _ready(self) -> HttpEngine:
        if self._remote is not None:
            return self._remote
        if self._must_wait():
            raise EngineUnavailableError(
                f"The engine died; it is started again in a moment. Last it said: {self._status.message}",
                hint=self._status.hint or "See its log, and run `tersely doctor`.",
            )
        # Shielded: the request that waits may be cancelled, the others still want the engine.
        return await asyncio.shield(self._connect())

    def _must_wait(self) -> bool:
        return self._connecting is None and time.monotonic() < self._not_before_s

    def _connect(self) -> asyncio.Task[HttpEngine]:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect_now(), name="connect-engine")
            self._connecting.add_done_callback(self._connected)
        return self._connecting

    def _connected(self, task: asyncio.Task[HttpEngine]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._remote = task.result()
            return
        self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Note a failure, and when to try again."""
        self._failures += 1
        # The first new start is immediate: most often the engine was stopped, or somebody killed it.
        delay_s = 0.0 if self._failures == 1 else self._first_delay_s * 2.0 ** min(self._failures - 2, 10)
        self._not_before_s = time.monotonic() + min(_LONGEST_DELAY_S, delay_s)
        if isinstance(error, TerselyError):
            message, hint = error.message, error.hint
        else:
            logger.error("cannot connect to the engine", exc_info=error)
            message, hint = f"{type(error).__name__}: {error}", "Please report this."
        self._tell(EngineStatus(state=EngineState.FAILED, message=message, hint=hint))

    async def _lost(self, remote: HttpEngine, error: EngineUnavailableError) -> None:
        """Forget a connection that failed, unless another request did so already."""
        if self._remote is remote:
            self._remote = None
            if isinstance(error, EngineUnreachableError) and self._server is None:
                self._tell(EngineStatus(state=EngineState.IDLE, message="The engine is gone; it starts on request."))
            else:
                self._failed(error)
                self.warm_up()
            await remote.aclose()

    async def _connect_now(self) -> HttpEngine:
        self._tell(EngineStatus(state=EngineState.STARTING, message=f"Starting {self._name()}."))
        remote = await self._open()
        try:
            if self._server is None:
                await self._wait_for_model(remote)
            info = await remote.info()
        except BaseException:
            await remote.aclose()
            raise
        self._tell(EngineStatus(state=EngineState.READY, message=f"{info.name} is ready."))
        return remote

    async def _open(self) -> HttpEngine:
        if self._server is not None:
            url, token, model, fim_family = self._server
            return HttpEngine(url, token=token, model=model, fim_family=fim_family)
        engine = await launcher.ensure_running(self._options)
        path = None if engine.socket_path is None else Path(engine.socket_path)
        return HttpEngine(engine.url, socket_path=path, token=engine.token())

    async def _wait_for_model(self, remote: HttpEngine) -> None:
        """Pass on what the engine tells until it can answer. A load that failed before we came is tried again."""
        first = True
        while True:
            status = await remote.status()
            if status.state in (EngineState.READY, EngineState.IDLE):
                return
            if status.state is EngineState.FAILED:
                if first:
                    return  # asking for the model, which comes next, loads it again
                raise EngineUnavailableError(status.message, hint=status.hint)
            first = False
            self._tell(status)
            await asyncio.sleep(_POLL_S)

    def _name(self) -> str:
        return self._options.model_name if self._server is None else self._server[0]

    def _tell(self, status: EngineStatus) -> None:
        if status != self._status:
            self._status = status
            for listener in tuple(self._listeners):
                listener(status)
