"""The engine's page in a real Chromium: for eyes, for keys alone and for screen readers, over the real engine."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from model import fim
from model.api import Engine, Feedback, GenerateRequest, SamplingParams
from model.fake import FakeEngine
from model.remote import HttpEngine
from model.service.app import create_app
from model.service.host import ready_host
from model.service.managed import ManagedEngine
from model.service.options import EngineOptions
from tests.cli.test_page import page
from tests.editors import chromium
from tests.editors.keeping import keep
from tests.model.service.conftest import home as home
from tests.model.service.serving import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRIVER = Path(__file__).with_name("drive.js")
SOURCE = '''class Account:
    """Somebody's money."""

    def __init__(self, owner, balance):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount):
        """Put money in."""
        self.balance += amount

    def withdraw(self, amount):
        """Take money out."""
        if amount > self.balance:
            raise ValueError("not enough")
        self.balance -= amount

    def history(self, since):
        return [entry for entry in self.entries if entry.date > since]
'''


@contextlib.asynccontextmanager
async def asking(ask: Callable[[], Awaitable[None]]) -> AsyncIterator[str]:
    """A URL that asks once when it is fetched."""

    async def answer(request: Request) -> Response:
        await ask()
        return Response()

    async with serve(Starlette(routes=[Route("/ask", answer)])) as url:
        yield f"{url}/ask"


async def complete(engine: Engine, source: str, *, wanted: int) -> None:
    """As an editor does: the file up to the cursor, and away once there are enough tokens."""
    info = await engine.info()
    prompt = fim.render(info.fim_family, prefix=source, suffix="\n")
    request = GenerateRequest(prompt=prompt, sampling=SamplingParams(max_tokens=64, logprobs=0))
    count = 0
    async with contextlib.aclosing(engine.generate(request)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            count += len(chunk.logprobs)
            if count >= wanted:
                break


def check(saw: dict[str, Any], address: str, *, requests: int) -> None:
    """What has to hold of the page, whatever it shows."""
    assert saw["complaints"] == []
    assert saw["hosts"] == [urlsplit(address).netloc]
    assert saw["state"] == "Ready"
    assert saw["tables"]["times"] == saw["tables"]["tokens"] == saw["tables"]["held"] == requests
    assert saw["tables"]["spread"] >= 2
    assert len(saw["plots"]) == 4
    assert f"the last {requests} requests" in saw["plots"][0]
    assert (saw["violations"], saw["violationsInTheDark"]) == ([], [])
    assert saw["keys"] == ["1", "2"]
    assert saw["stops"][:2] == ["Skip to the figures", "pause"]
    for name, table in (("times", "times request by request"), ("held", "memory after each request")):
        assert saw["stops"].index(f"{name}-plot") + 1 == saw["stops"].index(f"Table: {table}")
    # One live region, which tells states and no figures.
    assert len(saw["live"]) == 1
    assert saw["live"][0].startswith("Ready.")
    assert saw["paused"]
    light, dark = saw["grounds"]
    assert light != dark
    assert (saw["sideways"], saw["moving"]) == (0, 0)


@pytest.mark.model
@pytest.mark.usefixtures("embedded_model")
async def test_the_page_of_the_embedded_model(home: Path, tmp_path: Path):
    chromium.prepare()
    chance = random.Random(7)
    engine = ManagedEngine(EngineOptions(threads=1))
    cursor = SOURCE.index("    def deposit")
    asked = 0
    while cursor < len(SOURCE):
        await complete(engine, SOURCE[:cursor], wanted=chance.randint(2, 12))
        asked += 1
        if asked % 3 == 0:
            await engine.hear(Feedback(shown=1, accepted=asked % 2, accepted_tokens=4 * (asked % 2)))
        cursor += chance.randint(6, 20)
    async with asking(lambda: complete(engine, SOURCE, wanted=4)) as ask:
        with page() as told:
            address = told["url"]
            saw: Any = await asyncio.to_thread(chromium.drive, DRIVER, address, ask, tmp_path)
    await engine.aclose()
    keep(tmp_path / "page.png", tmp_path / "page-dark.png")
    check(saw, address, requests=asked)
    assert saw["title"] == "smollm2-135m – tersely engine"
    assert address.startswith(f"{saw['address']}#"), "the token stays in the address bar"
    assert saw["glance"]["First token"].endswith(" ms")
    assert int(saw["glance"]["Prefix cache"].removesuffix(" %")) > 50
    assert saw["glance"]["Saved writing"].startswith("≤ ")
    assert saw["glance"]["Accepted"] == f"{4 * ((asked // 3 + 1) // 2)} tokens"


async def test_the_page_asks_for_the_token_of_an_engine_that_has_one(tmp_path: Path):
    chromium.prepare()
    engine = FakeEngine("a b c d", token_delay_s=0.002)
    token = "a-token-of-the-engine"
    async with serve(create_app(ready_host(engine, name="fake"), token=token)) as url:
        remote = HttpEngine(url, token=token)
        for count in range(5):
            await complete(remote, "x " * count, wanted=9)
        async with asking(lambda: complete(remote, "x", wanted=9)) as ask:
            saw: Any = await asyncio.to_thread(chromium.drive, DRIVER, url, ask, tmp_path, token)
        await remote.aclose()
    assert saw["askedFocus"] == "token"
    saw["complaints"] = [one for one in saw["complaints"] if "401" not in one]  # the browser's word on being asked
    check(saw, url, requests=5)
