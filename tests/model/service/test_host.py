"""The model host: one load for many who wait, and no unload under anybody's feet; and the loader that pulls first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from model.errors import CheckpointError, EngineUnavailableError
from model.fake import FakeEngine
from model.hub import models_dir
from model.registry import MODELS
from model.service.host import ModelHost
from model.service.loading import loader
from model.service.options import EngineOptions
from model.status import EngineState, EngineStatus, StatusListener
from tests.model.published import NAME, publish
from tests.model.service.serving import until


class CountedLoader:
    """Loads when told to, and counts."""

    def __init__(self) -> None:
        self.loads = 0
        self.closed = 0
        self.go = asyncio.Event()

    async def __call__(self, report: StatusListener) -> FakeEngine:
        self.loads += 1
        await self.go.wait()
        outer = self

        class Counted(FakeEngine):
            async def aclose(self) -> None:
                outer.closed += 1

        return Counted("ok")


async def use(host: ModelHost) -> str:
    async with host.lease() as engine:
        return (await engine.info()).name


async def test_many_wait_for_one_load() -> None:
    load = CountedLoader()
    host = ModelHost(load, name="m")
    waiting = [asyncio.create_task(use(host)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    load.go.set()
    assert await asyncio.gather(*waiting) == ["fake"] * 4
    assert await use(host) == "fake"
    assert load.loads == 1
    await host.aclose()
    assert load.closed == 1


async def test_unload_waits_for_the_last_lease_and_the_next_loads_again() -> None:
    load = CountedLoader()
    load.go.set()
    host = ModelHost(load, name="m", idle_unload_s=0.0)
    async with host.lease():
        assert host.idle_s == 0.0
        host.idle_unload_s = 1e-9
        assert not await host.unload_if_idle()
    await until(lambda: host.idle_s > 0)
    assert await host.unload_if_idle()
    assert not await host.unload_if_idle()
    assert (load.closed, host.status.state) == (1, EngineState.IDLE)
    assert host.info is not None
    assert await use(host) == "fake"
    assert (load.loads, host.status.state) == (2, EngineState.READY)


async def test_without_a_limit_nothing_is_unloaded() -> None:
    load = CountedLoader()
    load.go.set()
    host = ModelHost(load, name="m")
    await use(host)
    assert not await host.unload_if_idle()
    assert host.status.state is EngineState.READY


async def test_closing_stops_a_load() -> None:
    load = CountedLoader()
    host = ModelHost(load, name="m")
    host.start()
    await until(lambda: load.loads)
    assert host.status.state is EngineState.LOADING
    await host.aclose()
    assert (host.status.state, load.closed) == (EngineState.IDLE, 0)


async def test_a_missing_model_is_pulled_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, monkeypatch)
    told: list[EngineStatus] = []
    with pytest.raises(CheckpointError):  # the published file is no checkpoint, which the load after the pull finds
        await loader(EngineOptions(model=NAME))(told.append)
    assert MODELS[NAME].installed
    assert {status.state for status in told} == {EngineState.PULLING}
    assert told[-1].fraction == 1.0
    assert "Fetching tiny" in told[-1].message


async def test_closing_stops_a_pull_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, monkeypatch)
    host = ModelHost(loader(EngineOptions(model=NAME)), name=NAME)
    host.start()
    await until(lambda: host.status.state is EngineState.PULLING)
    await host.aclose()
    assert [path.name for path in models_dir().iterdir() if path.name != ".pull.lock"] == []


async def test_offline_is_told_to_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, monkeypatch)
    monkeypatch.setenv("TERSELY_OFFLINE", "1")
    host = ModelHost(loader(EngineOptions(model=NAME)), name=NAME)
    with pytest.raises(EngineUnavailableError, match="TERSELY_OFFLINE forbids"):
        await use(host)
    assert host.status.state is EngineState.FAILED
    assert "put it here as" in host.status.hint
