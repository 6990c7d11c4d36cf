"""From engine options to a loaded engine, in threads that can be stopped. The one place that reaches for torch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from model import hub
from model.api import Engine, ModelInfo
from model.errors import EngineError
from model.fake import FakeEngine
from model.hosted.engine import HostedEngine
from model.remote import HttpEngine
from model.service.auth import read_token
from model.service.host import Loader
from model.service.options import EngineOptions
from model.status import EngineState, EngineStatus, StatusListener

_T = TypeVar("_T")


class _StoppedError(Exception):
    """Raised within a loading thread when nobody waits for it any more."""


def loader(options: EngineOptions) -> Loader:
    """What loads the model of `options`; a named model that is not there is pulled first, unless offline."""

    async def load(report: StatusListener) -> Engine:
        fake = options.fake
        if fake is not None:
            text, delay_s = fake
            return FakeEngine(text, token_delay_s=delay_s, info=ModelInfo(name="fake", architecture="fake"))
        if options.is_hosted:
            return await asyncio.to_thread(HostedEngine.open, options.model)  # a keyring may ask the user
        if options.is_url:
            file = options.upstream_token_file
            return HttpEngine(options.model, token=None if file is None else read_token(file))
        path = await _find(options, report)
        tell = _on_loop(report)

        def work(check: Callable[[], None]) -> Engine:
            def progress(fraction: float) -> None:
                check()
                message = f"Loading {options.model_name}."
                tell(EngineStatus(state=EngineState.LOADING, message=message, fraction=fraction))

            return _load(options, path, progress, tell)

        return await _in_thread(work)

    return load


async def _find(options: EngineOptions, report: StatusListener) -> Path:
    named = hub.MODELS.get(options.model)
    if named is None or named.installed:
        return hub.resolve(options.model)
    tell = _on_loop(report)

    def pull(check: Callable[[], None]) -> Path:
        def progress(step: hub.PullProgress) -> None:
            check()
            message = f"Fetching {options.model_name}: {step.step}."
            tell(EngineStatus(state=EngineState.PULLING, message=message, fraction=step.fraction))

        return hub.pull(options.model, progress=progress)

    return await _in_thread(pull)


def _load(options: EngineOptions, path: Path, progress: Callable[[float], None], tell: StatusListener) -> Engine:
    from model.local import LocalEngine

    def lost(error: EngineError) -> None:
        tell(EngineStatus(state=EngineState.FAILED, message=error.message, hint=error.hint))

    named = hub.MODELS.get(options.model)
    return LocalEngine.load(
        path,
        dtype=options.dtype,
        quantize=options.quantize,
        threads=options.threads,
        adapter=options.adapter or (named.adapter_path if named else None),
        context_tokens=options.context_tokens,
        device=options.device,
        processes=options.processes,
        lost=lost,
        name=options.model_name,
        progress=progress,
    )


def _on_loop(report: StatusListener) -> StatusListener:
    loop = asyncio.get_running_loop()

    def tell(status: EngineStatus) -> None:
        loop.call_soon_threadsafe(report, status)

    return tell


async def _in_thread(work: Callable[[Callable[[], None]], _T]) -> _T:
    """Run `work` in a thread of its own; it gets a function to call now and then, which raises once we are cancelled.

    On cancellation this waits for the thread, so that a pull cleans up after itself.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise _StoppedError

    thread = asyncio.ensure_future(asyncio.to_thread(work, check))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait({thread})
        thread.exception()  # _StoppedError, or whatever came first: nobody waits for it
        raise
