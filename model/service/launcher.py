"""Find engines, start them on demand, stop them. Runs in clients, so it stays light and loads no model."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

from model.errors import EngineUnavailableError
from model.paths import log_dir
from model.rooms import environment
from model.service.address import RunningEngine, private_dir, read_all_states, read_state, state_path
from model.service.options import EngineOptions

START_TIMEOUT_S = 60.0
_POLL_S = 0.05
_STOP_TIMEOUT_S = 10.0
_ENTRY = Path(__file__).resolve().with_name("__main__.py")


def find(options: EngineOptions) -> RunningEngine | None:
    """The engine that serves these options now, if there is one."""
    engine = read_state(options.key)
    return engine if engine is not None and engine.answers() else None


def list_engines() -> tuple[RunningEngine, ...]:
    """Every engine of this user that answers."""
    return tuple(engine for engine in read_all_states() if engine.answers())


async def ensure_running(options: EngineOptions, *, timeout_s: float = START_TIMEOUT_S) -> RunningEngine:
    """The engine for `options`, started if need be; its model may still load.

    However many processes ask at once, one engine is started. Raises `EngineUnavailableError` when it does not come
    up, and `UsageError` for options that cannot be.
    """
    options.check()
    deadline_s = time.monotonic() + timeout_s
    lock = FileLock(private_dir() / f"engine-{options.key}.start.lock")
    while True:
        engine = find(options)
        if engine is not None:
            return engine
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            _check_time(deadline_s, timeout_s, options)
            await asyncio.sleep(_POLL_S)
    try:
        # Whoever held the lock until now may have started it.
        return find(options) or await _start(options, deadline_s, timeout_s)
    finally:
        lock.release()


async def _start(options: EngineOptions, deadline_s: float, timeout_s: float) -> RunningEngine:
    output = log_dir() / f"engine-{options.key}.out"
    process = spawn(options, output=output)
    while True:
        engine = find(options)
        if engine is not None:
            return engine
        code = process.poll()
        if code is not None:
            raise EngineUnavailableError(
                f"The engine for {options.model_name} did not start (exit code {code}): {_last_line(output)}",
                hint=f"See {output}, and run `tersely doctor`.",
            )
        _check_time(deadline_s, timeout_s, options)
        await asyncio.sleep(_POLL_S)


def spawn(options: EngineOptions, *, output: Path) -> subprocess.Popen[bytes]:
    """Start an engine process that outlives this one; what it prints goes to `output`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_ENTRY), *options.to_arguments()],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=private_dir(),
            env=environment(),
            start_new_session=True,
            creationflags=_detached_flags(),
        )
    # Somebody must take note of its end, or it stays a zombie for as long as this process lives.
    threading.Thread(target=process.wait, name="engine-reaper", daemon=True).start()
    return process


def stop(*, model: str | None = None, timeout_s: float = _STOP_TIMEOUT_S) -> tuple[RunningEngine, ...]:
    """Stop the engines of this user, or those that serve `model` (a name as `list_engines` shows it).

    Returns those that were stopped. One that does not go within `timeout_s` is killed.
    """
    import psutil

    engines = [engine for engine in list_engines() if model is None or engine.model == model]
    processes = []
    for engine in engines:
        # The engine's own word first. One that listens but is too busy to answer holds its lock, so its file is true.
        pid = engine.told_pid() or engine.pid
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.terminate()
            processes.append(process)
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=timeout_s)
    if sys.platform == "win32":  # terminate() is a kill there, so nobody cleaned up
        for engine in engines:
            state_path(engine.key).unlink(missing_ok=True)
    return tuple(engines)


def _detached_flags() -> int:
    if sys.platform == "win32":
        return subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0


def _check_time(deadline_s: float, timeout_s: float, options: EngineOptions) -> None:
    if time.monotonic() > deadline_s:
        raise EngineUnavailableError(
            f"The engine for {options.model_name} did not come up within {timeout_s:.0f} s.",
            hint=f"See the logs in {log_dir()}, and run `tersely doctor`.",
        )


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return str(error)
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
