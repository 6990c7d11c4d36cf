"""The whole way, from an editor's key over the server's process to the engine's process and back."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
from lsprotocol import types

from model.service import launcher
from tests.cursor import at_cursor
from tests.lsp.client import Editor, capabilities

SERVER = (sys.executable, "-m", "tersely", "lsp")
SAMPLE = '''def add(a, b):
    """Add two numbers."""
    return a + b


def subtract(a, b):
    """Subtract one number from another."""
    return ‸
'''


@pytest_asyncio.fixture
async def editor() -> AsyncIterator[Editor]:
    """An editor over the real server; engines that it started are stopped behind it."""
    made = Editor()
    yield made
    await made.stop()
    await asyncio.to_thread(launcher.stop)


async def start(editor: Editor, source: str, **settings: object) -> tuple[int, int]:
    """Start the server, open `source`, wait for the engine; returns the cursor's line and column."""
    await editor.start(*SERVER, capabilities=capabilities(), settings=settings)
    text, offset = at_cursor(source)
    before = text[:offset]
    editor.open(text)
    await editor.until_ready()
    return before.count("\n"), len(before.rpartition("\n")[2])


def engine_process() -> psutil.Process:
    [engine] = launcher.list_engines()
    return psutil.Process(engine.pid)


async def metric(name: str) -> float:
    """A counter of the running engine."""
    [engine] = launcher.list_engines()
    transport = None if engine.socket_path is None else httpx.AsyncHTTPTransport(uds=engine.socket_path)
    token = engine.token()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url=engine.url, headers=headers) as client:
        page = (await client.get("/metrics")).text
    found = re.search(rf"^{name}(?:_total)? (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found[1])


async def until(metric_name: str, value: float) -> None:
    async with asyncio.timeout(20):
        while await metric(metric_name) != value:  # noqa: ASYNC110 - another process's counter.
            await asyncio.sleep(0.05)


async def test_ghost_text_from_an_engine_of_its_own(editor: Editor):
    line, column = await start(editor, SAMPLE, model="fake: a - b\n")
    [item] = await editor.items(line, column)
    assert item.insert_text.strip() == "a - b"
    assert (item.range.start.line, item.range.start.character) == (line, column)
    assert editor.warnings == []


async def test_superseding_and_cancelling_stop_the_engine(editor: Editor):
    line, column = await start(editor, SAMPLE, model="fake@0.2:a b c d e f g h i j k l m n o p q r s t u v w x y z")
    older = editor.ask(line, column)
    await until("tersely_in_flight", 1)
    newer = editor.ask(line, column, request_id="to-cancel")
    assert (await older).items == ()
    await until("tersely_cancelled", 1)
    await until("tersely_in_flight", 1)
    editor.client.cancel_request(types.CancelParams(id="to-cancel"))
    with pytest.raises(Exception, match="canceled"):
        await newer
    await until("tersely_cancelled", 2)
    await until("tersely_in_flight", 0)


async def test_the_engines_death_is_survived(editor: Editor):
    line, column = await start(editor, SAMPLE, model="fake@0.2:a b c d e f g h i j k l m n o p q r s t u v w x y z")
    waiting = editor.ask(line, column)
    await until("tersely_in_flight", 1)
    first = engine_process()
    first.kill()
    assert (await waiting).items == ()
    [warning] = editor.warnings
    assert warning
    assert any(status.kind == "Error" and status.hint for status in editor.statuses)
    async with asyncio.timeout(20):
        while "is ready" not in editor.statuses[-1].message:
            # As typing would: each key asks, and is answered at once while there is no engine.
            assert await editor.items(0, 0) == []
            await asyncio.sleep(0.1)
    again = editor.ask(line, column)
    await until("tersely_in_flight", 1)
    assert engine_process().pid != first.pid
    editor.edit(0, 0, 0, "#")
    assert (await again).items == ()
    assert editor.warnings == [warning]
    assert editor.statuses[-1].kind == "Normal"


async def test_a_model_that_is_not_there_is_one_warning(editor: Editor, tmp_path: Path):
    await editor.start(*SERVER, capabilities=capabilities(), settings={"model": str(tmp_path / "none.gguf")})
    editor.open("x = ")
    await editor.until(lambda: bool(editor.warnings))
    for _ in range(5):
        assert await editor.items(0, 4) == []
    assert len(editor.warnings) == 1
    assert "none" in editor.warnings[0]
    assert (editor.statuses[-1].kind, bool(editor.statuses[-1].hint)) in {("Error", True), ("Busy", False)}


async def test_an_engine_that_is_told_by_url_and_does_not_answer(editor: Editor):
    await editor.start(*SERVER, capabilities=capabilities(), settings={"engine": {"url": "http://127.0.0.1:9"}})
    editor.open("x = ")
    await editor.until(lambda: bool(editor.warnings))
    assert await editor.items(0, 4) == []
    assert len(editor.warnings) == 1


@pytest.mark.model
async def test_ghost_text_from_the_embedded_model(editor: Editor, embedded_model: Path):
    line, column = await start(editor, SAMPLE, level="eager")
    [item] = await editor.items(line, column)
    assert item.insert_text.strip()
    assert "\n" not in item.insert_text.strip("\n")
    editor.edit(line, column, column, item.insert_text[:1])
    [shorter] = await editor.items(line, column + 1)
    assert shorter.insert_text == item.insert_text[1:]
    assert editor.warnings == []
