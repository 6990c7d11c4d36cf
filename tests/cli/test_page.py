"""`tersely page` as a process: one command, from an engine on a Unix socket to what a browser sees."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from model.registry import DEFAULT_MODEL, TOOLS_MODEL
from model.service import launcher
from model.service.address import RunningEngine
from model.service.options import EngineOptions
from tersely.commands.page import choose
from tests.cli.test_cli import tersely
from tests.model.service.conftest import home as home

FAKE = "fake:1 + 2\n"


@contextmanager
def page(*arguments: str) -> Iterator[dict[str, Any]]:
    """What the command printed, while it runs."""
    command = [sys.executable, "-m", "tersely", "page", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            # Nothing but one document comes, on one line where nobody looks.
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@pytest.mark.usefixtures("home")
async def test_the_page_of_an_engine_on_a_socket_of_its_own():
    engine = await launcher.ensure_running(EngineOptions(model=FAKE))
    with page() as told:
        address, _, token = told["url"].partition("#")
        assert urlsplit(address).hostname == "127.0.0.1"
        assert (told["model"], told["pid"]) == ("fake", engine.pid)
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            assert "tersely engine" in (await client.get("/")).text
            assert (await client.get("/stats")).status_code == 401
            stats = (await client.get("/stats", headers={"Authorization": f"Bearer {token}"})).json()
            assert stats["engine"]["pid"] == engine.pid


@pytest.mark.usefixtures("home")
async def test_what_it_needs_is_said():
    none = tersely("page")
    assert none.returncode == 4
    assert "No engine is running." in none.stderr
    assert "tersely engine" in none.stderr
    await launcher.ensure_running(EngineOptions(model=FAKE))
    other = tersely("page", "--model", "other")
    assert other.returncode == 4
    assert "No engine is running for other." in other.stderr
    await launcher.ensure_running(EngineOptions(model="http://127.0.0.1:9"))
    several = tersely("page")
    assert several.returncode == 2
    assert "Several engines are running: 127.0.0.1:9, fake." in several.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = tersely("page", "--model", "fake", "--port", str(port))
    assert refused.returncode == 2
    assert f"Port {port} cannot be had" in refused.stderr


def test_the_engine_that_completes_comes_before_the_one_for_wishes():
    completing, wishing = (
        RunningEngine(key=name, model=name, pid=1, version="1") for name in (DEFAULT_MODEL, TOOLS_MODEL)
    )
    assert choose(None, [wishing, completing]) is completing
    assert choose(None, [wishing]) is wishing
    assert choose(TOOLS_MODEL, [wishing, completing]) is wishing
