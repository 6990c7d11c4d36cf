"""Hold the model of an engine process: load it in the background, lend it, unload it when idle. Knows no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from model import memory
from model.api import Engine, Measures, Measuring, ModelInfo
from model.errors import EngineUnavailableError, TerselyError
from model.status import EngineState, EngineStatus, StatusListener

Loader = Callable[[StatusListener], Awaitable[Engine]]
"""Makes the engine, and reports how far it is; it may be called again after an unload or a failure."""

logger = logging.getLogger(__name__)


class ModelHost:
    """One model, loaded at most once at a time.

    `status` is always current. A lease waits for the model, and loads it when it is not there; `FAILED` is tried again
    by the next lease. `idle_s` counts from the end of the last lease or load.
    """

    def __init__(self, load: Loader, *, name: str, idle_unload_s: float | None = None) -> None:
        self._load = load
        self.name = name
        self.idle_unload_s = idle_unload_s
        self.status = EngineStatus(state=EngineState.IDLE, message="Not loaded yet.")
        self.info: ModelInfo | None = None
        """What was served last, also while it is unloaded."""
        self.lost = asyncio.Event()
        """Set when an engine that was served says that it cannot go on; `status` says why."""
        self._engine: Engine | None = None
        self._loading: asyncio.Task[Engine] | None = None
        self._leases = 0
        self._used_s = time.monotonic()

    def start(self) -> None:
        """Load in the background, unless that is done or under way."""
        if self._engine is None and self._loading is None:
            self._loading = asyncio.create_task(self._load_now(), name="load-model")
            self._loading.add_done_callback(self._loaded)

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator[Engine]:
        """The engine, for one request. Raises `EngineUnavailableError` when it cannot be loaded."""
        self._leases += 1
        try:
            yield await self._ready()
        finally:
            self._leases -= 1
            self._used_s = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds since anything was asked; 0 while something is under way."""
        busy = self._leases or self._loading is not None
        return 0.0 if busy else time.monotonic() - self._used_s

    def measures(self) -> Measures:
        """What the engine holds; nothing while there is none, or it does not tell."""
        return self._engine.measures() if isinstance(self._engine, Measuring) else Measures()

    async def unload_if_idle(self) -> bool:
        """Give the model's memory back when nobody asked for long enough; whether that was done."""
        if self.idle_unload_s is None or self._engine is None or self.idle_s < self.idle_unload_s:
            return False
        engine, self._engine = self._engine, None
        self.status = EngineStatus(state=EngineState.IDLE, message=f"{self.name} is unloaded while idle.")
        await engine.aclose()
        del engine
        memory.give_back()
        logger.info("unloaded %s after %.0f s idle", self.name, self.idle_unload_s)
        return True

    async def aclose(self) -> None:
        """Stop loading, and release the engine."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.aclose()

    async def _ready(self) -> Engine:
        if self._engine is not None:
            return self._engine
        self.start()
        assert self._loading is not None
        try:
            # Shielded: the client that waits may go, the others still want the model.
            return await asyncio.shield(self._loading)
        except Exception as error:
            message, hint = _in_words(error)
            raise EngineUnavailableError(f"{self.name} cannot be served: {message}", hint=hint) from error

    async def _load_now(self) -> Engine:
        self._report(EngineStatus(state=EngineState.LOADING, message=f"Loading {self.name}."))
        started_s = time.perf_counter()
        engine = await self._load(self._report)
        self.info = await engine.info()
        logger.info("loaded %s in %.1f s", self.name, time.perf_counter() - started_s)
        return engine

    def _loaded(self, task: asyncio.Task[Engine]) -> None:
        self._loading = None
        self._used_s = time.monotonic()
        if task.cancelled():
            self.status = EngineStatus(state=EngineState.IDLE, message="Loading was stopped.")
            return
        error = task.exception()
        if error is None:
            self._engine = task.result()
            if self.lost.is_set():
                return
            self.status = EngineStatus(state=EngineState.READY, message=f"{self.name} is ready.")
            return
        logger.error("cannot load %s", self.name, exc_info=error)
        message, hint = _in_words(error)
        self.status = EngineStatus(state=EngineState.FAILED, message=message, hint=hint)

    def _report(self, status: EngineStatus) -> None:
        self.status = status
        if status.state is EngineState.FAILED:  # one that cannot be loaded raises
            self.lost.set()


def ready_host(engine: Engine, *, name: str = "model") -> ModelHost:
    """A host whose engine is there already."""

    async def load(_: StatusListener) -> Engine:
        return engine

    return ModelHost(load, name=name)


def _in_words(error: BaseException) -> tuple[str, str]:
    if isinstance(error, TerselyError):
        return error.message, error.hint
    return f"{type(error).__name__}: {error}", "See the engine's log, and run `tersely doctor`."
