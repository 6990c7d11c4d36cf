"""The engine process: one lock, one socket, one model, until it is told to stop or nobody has asked for long."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from filelock import FileLock, Timeout

from model.errors import EngineRunningError, EngineUnavailableError
from model.paths import log_dir
from model.service.address import RunningEngine, lock_path, read_state, state_path, write_state
from model.service.app import create_app
from model.service.host import ModelHost
from model.service.listener import Listener, open_listener
from model.service.loading import loader
from model.service.options import EXIT_AFTER_UNLOADS, EngineOptions, tersely_version

LOG_BYTES = 2_000_000
LOG_FILES = 3
_LOCK_WAIT_S = 10.0
"""How long to wait for an engine that is just going."""
_GRACE_S = 2
"""Seconds that requests under way may still take when the engine is told to stop."""

logger = logging.getLogger(__name__)


def run_engine(options: EngineOptions) -> None:
    """Serve until SIGTERM, SIGINT or long idleness; then leave nothing behind.

    Raises `UsageError` for options that cannot be, `EngineRunningError` when such an engine runs already, and
    `EngineUnavailableError` where a process died that held a part of the model. What else goes wrong with the model is
    told to those who ask for it, and does not end the process.
    """
    options.check()
    options = options.resolved()
    _log_to_file(options)
    with _alone(options):
        state_path(options.key).unlink(missing_ok=True)
        listener = open_listener(options)
        try:
            asyncio.run(_serve(options, listener))
        finally:
            state_path(options.key).unlink(missing_ok=True)
            listener.close()
            logger.info("stopped")
            logging.shutdown()


@contextlib.contextmanager
def _alone(options: EngineOptions) -> Iterator[None]:
    """Hold the engine's lock: the system frees it however this process ends."""
    lock = FileLock(lock_path(options.key))
    try:
        lock.acquire(timeout=_LOCK_WAIT_S, poll_interval=0.1)
    except Timeout as error:
        running = read_state(options.key)
        at = "" if running is None else f" at {running.address}, process {running.pid}"
        raise EngineRunningError(
            f"An engine for {options.model_name} with these options runs already{at}.",
            hint="Use that one, or run `tersely stop` first.",
        ) from error
    try:
        yield
    finally:
        lock.release()


async def _serve(options: EngineOptions, listener: Listener) -> None:
    host = ModelHost(loader(options), name=options.model_name, idle_unload_s=options.idle_unload_s)
    app = create_app(host, token=listener.token, version=tersely_version())
    server = _Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=_GRACE_S
        )
    )
    host.start()
    engine = _published(options, listener)
    write_state(engine)
    logger.info("process %d serves %s at %s", engine.pid, options.model_name, engine.address)
    if sys.stderr.isatty():
        print(f"tersely engine: {options.model_name} at {engine.address} (Ctrl-C stops it)", file=sys.stderr)
    watches = [
        asyncio.create_task(_watch_idleness(options, host, server)),
        asyncio.create_task(_watch_loss(options, host, server)),
    ]
    try:
        await server.serve(sockets=[listener.socket])
    finally:
        for watch in watches:
            watch.cancel()
        await host.aclose()
    if host.lost.is_set():
        raise EngineUnavailableError(host.status.message, hint=host.status.hint)


def _published(options: EngineOptions, listener: Listener) -> RunningEngine:
    return RunningEngine(
        key=options.key,
        model=options.model_name,
        pid=os.getpid(),
        version=tersely_version(),
        socket_path=None if listener.socket_path is None else str(listener.socket_path),
        host=listener.host,
        port=listener.port,
        token_file=None if listener.token_file is None else str(listener.token_file),
    )


async def _watch_idleness(options: EngineOptions, host: ModelHost, server: uvicorn.Server) -> None:
    """Unload the model after a while without requests; later end the process, unless somebody chose its port."""
    limit_s = options.idle_unload_s
    if limit_s is None:
        return
    while True:
        await asyncio.sleep(min(5.0, limit_s / 4))
        await host.unload_if_idle()
        if options.port is None and host.idle_s > EXIT_AFTER_UNLOADS * limit_s:
            logger.info("nobody asked for %.0f s: exiting", host.idle_s)
            # New clients must not find what is about to go.
            state_path(options.key).unlink(missing_ok=True)
            server.should_exit = True
            return


async def _watch_loss(options: EngineOptions, host: ModelHost, server: uvicorn.Server) -> None:
    """End the process when its engine cannot go on: whoever asks next starts another."""
    await host.lost.wait()
    state_path(options.key).unlink(missing_ok=True)
    server.should_exit = True


class _Server(uvicorn.Server):
    """Uvicorn ends a process by the signal that stopped it; this one returns, so that what follows can clean up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

        numbers = [signal.SIGINT, signal.SIGTERM]
        if sys.platform == "win32":
            numbers.append(signal.SIGBREAK)
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def log_path(options: EngineOptions) -> Path:
    """The rotated log of an engine."""
    return log_dir() / f"engine-{options.key}.log"


def _log_to_file(options: EngineOptions) -> None:
    """Log to a rotated file: what happens, never what is written or generated."""
    log_dir().mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        log_path(options), maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for noisy in ("httpx", "filelock", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
