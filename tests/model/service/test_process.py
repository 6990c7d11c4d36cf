"""Real engine processes with a fake model: started once, found, stopped, killed, unloaded, and none left behind."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
from filelock import FileLock

from model.api import Chunk, GenerateRequest, SamplingParams
from model.errors import EngineRunningError, EngineUnavailableError, UsageError
from model.remote import HttpEngine
from model.service import address, launcher, process
from model.service.address import RunningEngine
from model.service.auth import write_token
from model.service.options import EngineOptions
from model.status import EngineState
from tests.model.service.serving import until

OPTIONS = EngineOptions(model="fake:return left", idle_unload_s=None)
ROOMS = Path(process.__file__).parents[2]
sigkill = pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")


def remote_of(engine: RunningEngine) -> HttpEngine:
    path = None if engine.socket_path is None else Path(engine.socket_path)
    return HttpEngine(engine.url, socket_path=path, token=engine.token())


async def answer(engine: RunningEngine) -> str:
    remote = remote_of(engine)
    try:
        return "".join([chunk.text async for chunk in remote.generate(GenerateRequest(prompt="x"))])
    finally:
        await remote.aclose()


async def test_start_find_stop(home: Path) -> None:
    assert launcher.find(OPTIONS) is None
    engine = await launcher.ensure_running(OPTIONS)
    assert (engine.model, engine.key) == ("fake", OPTIONS.key)
    assert await answer(engine) == "return left"
    assert launcher.list_engines() == (engine,)
    assert await launcher.ensure_running(OPTIONS) == engine
    assert launcher.stop(model="another") == ()
    assert launcher.stop() == (engine,)
    assert not psutil.pid_exists(engine.pid)
    assert launcher.list_engines() == ()
    assert {path.suffix for path in address.private_dir().iterdir()} == {".lock"}


CLIENT = """
    import asyncio, sys
    sys.path.insert(0, {rooms!r})
    from model.service.launcher import ensure_running
    from model.service.options import EngineOptions
    sys.stdin.readline()
    print(asyncio.run(ensure_running(EngineOptions(model={model!r}, idle_unload_s=None))).pid)
"""


def test_ten_clients_at_once_start_one_engine(home: Path) -> None:
    code = textwrap.dedent(CLIENT.format(rooms=str(ROOMS), model=OPTIONS.model))
    clients = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    pids = {client.communicate(timeout=60)[0].strip() for client in clients}
    assert [client.returncode for client in clients] == [0] * 10
    (engine,) = launcher.list_engines()
    assert pids == {str(engine.pid)}
    started = [line for line in process.log_path(OPTIONS).read_text().splitlines() if " serves fake at " in line]
    assert len(started) == 1


async def test_other_options_are_another_engine(home: Path) -> None:
    one = await launcher.ensure_running(OPTIONS)
    other = await launcher.ensure_running(replace(OPTIONS, context_tokens=64))
    assert {one, other} == set(launcher.list_engines())


async def test_a_second_engine_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await launcher.ensure_running(OPTIONS)
    monkeypatch.setattr(process, "_LOCK_WAIT_S", 0.1)
    with pytest.raises(EngineRunningError, match=f"process {engine.pid}") as caught:
        process.run_engine(OPTIONS)
    assert "tersely stop" in caught.value.hint
    assert await answer(engine) == "return left"


@sigkill
async def test_what_a_killed_engine_left_is_in_nobodys_way(home: Path) -> None:
    first = await launcher.ensure_running(OPTIONS)
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(first.pid))
    assert address.state_path(OPTIONS.key).exists()
    assert launcher.list_engines() == ()
    assert launcher.stop() == ()
    second = await launcher.ensure_running(OPTIONS)
    assert second.pid != first.pid
    assert await answer(second) == "return left"


@sigkill
def test_a_client_killed_while_it_starts_an_engine(home: Path) -> None:
    lock = address.private_dir() / f"engine-{OPTIONS.key}.start.lock"
    hold = f"lock = filelock.FileLock({str(lock)!r}); lock.acquire()"
    code = f"import filelock, time; {hold}; print('held', flush=True); time.sleep(60)"
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert client.stdout is not None
    client.stdout.readline()
    with pytest.raises(EngineUnavailableError, match="did not come up"):
        asyncio.run(launcher.ensure_running(OPTIONS, timeout_s=0.2))
    client.kill()
    client.communicate()
    assert asyncio.run(launcher.ensure_running(OPTIONS)).model == "fake"


def test_a_pid_that_was_used_again_is_not_stopped(home: Path) -> None:
    engine = asyncio.run(launcher.ensure_running(OPTIONS))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    address.write_state(replace(engine, pid=bystander.pid))
    launcher.stop()
    assert bystander.poll() is None
    assert not psutil.pid_exists(engine.pid)
    bystander.kill()
    bystander.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it_cleanly_with_a_request_under_way(home: Path, number: int) -> None:
    options = replace(OPTIONS, model="fake@0.02:" + "word " * 5000)
    engine = await launcher.ensure_running(options)
    remote = remote_of(engine)
    chunks = remote.generate(GenerateRequest(prompt="x", sampling=SamplingParams(max_tokens=5000)))
    await anext(chunks)
    os.kill(engine.pid, number)
    with pytest.raises(EngineUnavailableError):
        await asyncio.wait_for(_exhaust(chunks), 30)
    await remote.aclose()
    await until(lambda: not psutil.pid_exists(engine.pid))
    assert not address.state_path(options.key).exists()
    assert "stopped" in process.log_path(options).read_text()
    with FileLock(address.lock_path(options.key), timeout=0):
        pass


async def _exhaust(chunks: AsyncIterator[Chunk]) -> None:
    async for _ in chunks:
        pass


async def _watch(remote: HttpEngine, seen: set[EngineState]) -> None:
    while True:
        seen.add((await remote.status()).state)
        await asyncio.sleep(0.02)


async def test_idle_engines_unload_and_then_exit(home: Path) -> None:
    options = replace(OPTIONS, idle_unload_s=0.4)
    engine = await launcher.ensure_running(options)
    remote = remote_of(engine)
    assert await answer(engine) == "return left"
    seen: set[EngineState] = set()
    with pytest.raises(EngineUnavailableError):
        await asyncio.wait_for(_watch(remote, seen), 30)
    await remote.aclose()
    assert EngineState.IDLE in seen
    assert "unloaded" in process.log_path(options).read_text()
    await until(lambda: not psutil.pid_exists(engine.pid))
    assert launcher.list_engines() == ()


async def test_a_chosen_port_with_a_token(home: Path) -> None:
    token_file = home / "token"
    token = write_token(token_file)
    engine = await launcher.ensure_running(replace(OPTIONS, host="127.0.0.1", port=0, token_file=token_file))
    assert engine.socket_path is None
    async with httpx.AsyncClient(base_url=engine.url) as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    assert await answer(engine) == "return left"
    assert launcher.find(OPTIONS) == engine


async def test_a_long_home_still_works(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERSELY_HOME", str(home / ("long" * 25)))
    engine = await launcher.ensure_running(OPTIONS)
    try:
        assert engine.socket_path is None
        assert engine.token_file is not None
        assert await answer(engine) == "return left"
    finally:
        launcher.stop()


async def test_a_model_that_is_not_there_is_told_and_the_process_stays(home: Path) -> None:
    options = replace(OPTIONS, model=str(home / "none.gguf"))
    engine = await launcher.ensure_running(options)
    remote = remote_of(engine)
    with pytest.raises(EngineUnavailableError, match="no such file"):
        await remote.info()
    assert (await remote.status()).state is EngineState.FAILED
    await remote.aclose()


async def test_options_that_cannot_be(home: Path) -> None:
    with pytest.raises(UsageError, match="no dtype"):
        await launcher.ensure_running(replace(OPTIONS, dtype="float8"))


async def test_an_engine_that_cannot_start_is_told_with_its_last_words(home: Path) -> None:
    missing = home / "no-token"
    with pytest.raises(EngineUnavailableError, match="cannot be read") as caught:
        await launcher.ensure_running(replace(OPTIONS, host="127.0.0.1", port=0, token_file=missing))
    assert "doctor" in caught.value.hint


async def test_a_hostile_workspace_is_not_imported(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model", "uvicorn", "starlette", "filelock", "logging"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path(__file__).with_suffix('.owned').touch()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", ""]))
    assert await answer(await launcher.ensure_running(OPTIONS)) == "return left"
    launcher.stop()
    (tmp_path / "logging.py").unlink()  # Python itself needs the true one, and an absolute path is meant
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert await answer(await launcher.ensure_running(OPTIONS)) == "return left"
    assert not any(name.endswith(".owned") for name in os.listdir(tmp_path))


async def test_the_log_holds_no_text(home: Path) -> None:
    engine = await launcher.ensure_running(replace(OPTIONS, model="fake:confidential"))
    await answer(engine)
    launcher.stop()
    logs = [path.read_text() for path in (home / "state" / "log").iterdir()]
    assert any("serves fake" in text for text in logs)
    assert not any("confidential" in text for text in logs)


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield root
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_logs_rotate(home: Path, root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 1000)
    process._log_to_file(OPTIONS)
    for number in range(200):
        logging.getLogger("test").info("line %d", number)
    files = sorted((home / "state" / "log").iterdir())
    assert len(files) == 1 + process.LOG_FILES
    assert all(path.stat().st_size <= 1000 for path in files)


def test_clients_stay_light() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOMS)!r})
import model.hub, model.remote, model.service.auth, model.service.launcher, model.service.managed
heavy = {{"torch", "numpy", "starlette", "uvicorn", "httpx", "prometheus_client", "tokenizers"}} & set(sys.modules)
print(sorted(heavy))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
