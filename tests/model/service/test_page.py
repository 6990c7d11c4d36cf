"""The page's files and figures: what is served to whom, and that it says what `/metrics` says."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from model.api import Measures
from model.fake import FakeEngine
from model.service import page
from model.service.address import RunningEngine
from model.service.app import create_app
from model.service.host import ModelHost, ready_host
from model.service.relay import create_relay
from tests.model.service.serving import serve

TEXT = "return left + right"
TOKEN = "a-token-of-the-engine"
WEB = Path(page.__file__).with_name("web")
OWN_FILES = sorted(path for path in WEB.rglob("*") if path.is_file())


def client_of(engine: FakeEngine | ModelHost, **options: Any) -> httpx.AsyncClient:
    host = engine if isinstance(engine, ModelHost) else ready_host(engine, name="fake")
    transport = httpx.ASGITransport(create_app(host, **options))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@asynccontextmanager
async def live(engine: FakeEngine, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Over a real server: events come one by one."""
    async with (
        serve(create_app(ready_host(engine, name="fake"), **options)) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        yield client


async def events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line:
            yield json.loads(line.removeprefix("data: "))


async def test_the_page_and_all_that_it_names():
    async with client_of(FakeEngine(TEXT)) as client:
        index = await client.get("/")
        assert index.headers["content-type"] == "text/html; charset=utf-8"
        named = set(re.findall(r'(?:src|href)="(page/[^"]+)"', index.text))
        script = (await client.get("/page/page.js")).text
        named |= {f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', script)}
        assert named == {
            f"page/{path.relative_to(WEB)}" for path in OWN_FILES if path.suffix in (".js", ".css", ".svg")
        }
        for path in named:
            answer = await client.get(f"/{path}")
            assert answer.is_success, path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_is_asked_of_others_and_nothing_is_inline():
    html = (WEB / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", html)
    policy = page.HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    for path in OWN_FILES:
        if "uplot" not in path.parts and path.suffix != ".svg":
            assert not re.search(r"https?://|innerHTML|\beval\b", path.read_text(encoding="utf-8")), path


def test_the_library_comes_with_its_licence():
    assert "MIT License" in (WEB / "uplot" / "LICENSE").read_text(encoding="utf-8")
    notice = (Path(page.__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
    version = re.search(r"uPlot \(v([\d.]+)\)", (WEB / "uplot" / "uPlot.iife.min.js").read_text(encoding="utf-8"))
    assert version is not None
    assert f"uPlot {version[1]}" in notice


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/../page.py",
        "/page/%2e%2e/page.py",
        "/page/uplot/LICENSE",
        "/page/uplot",
        "/page/%00.js",
        f"/page/{'a' * 5000}.js",
    ],
)
async def test_no_other_files_are_served(path: str):
    async with client_of(FakeEngine(TEXT)) as client:
        assert (await client.get(path)).status_code in (400, 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/page/page.css", 200), ("/stats", 401), ("/stats/events", 401), ("/metrics", 401), ("/pages", 401)],
)
async def test_with_a_token_the_page_is_open_and_the_figures_are_not(path: str, status: int):
    async with client_of(FakeEngine(TEXT), token=TOKEN) as client:
        assert (await client.get(path)).status_code == status
        shown = await client.get(path, headers={"Authorization": "Bearer wrong"})
        assert shown.status_code == status


async def test_with_the_token_the_figures_are_shown():
    async with client_of(FakeEngine(TEXT), token=TOKEN) as client:
        assert (await client.get("/stats", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/stats", "/stats/events"])
@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
async def test_without_a_token_no_web_page_reaches_it(path: str, headers: dict[str, str]):
    async with client_of(FakeEngine(TEXT)) as client:
        assert (await client.get(path, headers=headers)).status_code == 403


class Measured(FakeEngine):
    """A fake that tells what it holds."""

    def measures(self) -> Measures:
        return Measures(cache_bytes=7, drafted_tokens=5, draft_hits=3)


async def test_the_figures_are_those_of_the_metrics():
    async with client_of(Measured(TEXT)) as client:
        for _ in range(2):
            await client.post("/v1/completions", json={"prompt": "def add", "max_tokens": 9})
        await client.post("/feedback", json={"shown": 2})
        await client.post("/feedback", json={"accepted": 1, "accepted_tokens": 2.5})
        stats = (await client.get("/stats")).json()
        page_text = (await client.get("/metrics")).text
    samples = {
        sample.name + str(sample.labels.get("outcome", "")): sample.value
        for family in text_string_to_metric_families(page_text)
        for sample in family.samples
    }
    totals = stats["totals"]
    assert totals == {
        "requests": {"ok": 2, "cancelled": 0, "error": 0},
        "in_flight": 0,
        "prefix_hits": 1,
        "prompt_tokens": 4,
        "reused_tokens": 2,
        "read_tokens": 2,
        "generated_tokens": 8,
        "accepted_tokens": 2.5,
        "shown": 2,
        "accepted": 1,
    }
    for name in ("prefix_hits", "prompt_tokens", "generated_tokens", "accepted_tokens", "shown", "accepted"):
        assert samples[f"tersely_{name}_total"] == totals[name]
    assert samples["tersely_cached_tokens_total"] == totals["reused_tokens"]
    assert samples["tersely_requests_totalok"] == 2
    assert samples["tersely_ttft_seconds_count"] == sum(stats["first_token"]["counts"]) == 2
    assert samples["tersely_unwritten_tokens"] == stats["saved"]["unwritten_tokens"] == 0
    assert samples["tersely_memory_bytes"] > 1e7
    assert stats["memory"]["process_bytes"] > 1e7
    assert stats["memory"]["cache_bytes"] == samples["tersely_cache_bytes"] == 7
    assert (samples["tersely_drafted_tokens"], samples["tersely_draft_hits"]) == (5, 3)
    first, second = stats["requests"]
    assert (first["number"], second["number"], stats["latest"]) == (1, 2, 2)
    assert (first["cached_tokens"], second["cached_tokens"]) == (0, 2)
    assert (second["generated_tokens"], second["limit_tokens"], second["outcome"]) == (4, 9, "ok")
    assert stats["engine"]["model"]["name"] == "fake"
    assert stats["engine"]["state"] == "ready"


async def test_no_word_of_a_prompt_or_an_answer_is_in_the_figures():
    async with client_of(FakeEngine("unspeakable answer")) as client:
        await client.post("/v1/completions", json={"prompt": "unheard prompt"})
        stats = (await client.get("/stats")).text
    assert "unspeakable" not in stats
    assert "unheard" not in stats


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_a_bad_number_is_refused(after: str):
    async with client_of(FakeEngine(TEXT)) as client:
        answer = await client.get("/stats", params={"after": after})
        assert answer.status_code == 400
        assert "`after`" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("named", "body"),
    [("shown", {"shown": -1}), ("accepted", {"accepted": 1.5}), ("accepted_tokens", {"accepted_tokens": "many"})],
)
async def test_bad_feedback_is_named(named: str, body: dict[str, Any]):
    async with client_of(FakeEngine(TEXT)) as client:
        answer = await client.post("/feedback", json=body)
        assert answer.status_code == 400
        assert f"`{named}`" in answer.json()["error"]["message"]


async def test_events_tell_what_is_new_and_an_answer_that_was_closed():
    engine = FakeEngine("a " * 500, token_delay_s=0.02)
    async with live(engine) as client, client.stream("GET", "/stats/events") as response:
        told = events(response)
        assert (await anext(told))["latest"] == 0
        body = {
            "prompt": "x",
            "stream": True,
            "max_tokens": 400,
            "stream_options": {"continuous_usage_stats": True},
        }
        async with client.stream("POST", "/v1/completions", json=body) as answer:
            await anext(answer.aiter_lines())
        async with asyncio.timeout(20):
            while (seen := await anext(told))["latest"] == 0:
                assert seen["totals"]["in_flight"] == 1
        [entry] = seen["requests"]
        assert entry["outcome"] == "cancelled"
        assert entry["generated_tokens"] + seen["saved"]["unwritten_tokens"] == 400
        await client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1})
        async with asyncio.timeout(20):
            while (seen := await anext(told))["latest"] == 1:
                pass
        assert [entry["number"] for entry in seen["requests"]] == [2]


@asynccontextmanager
async def relayed(address: httpx.URL, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    engine = RunningEngine(key="k", model="fake", pid=1, version="1", host=address.host, port=address.port, **options)
    async with (
        serve(create_relay(engine, token=TOKEN)) as url,
        httpx.AsyncClient(base_url=url, timeout=20, headers={"Authorization": f"Bearer {TOKEN}"}) as client,
    ):
        yield client


async def test_a_relay_shows_the_figures_and_nothing_else(tmp_path: Path):
    own = tmp_path / "token"
    own.write_text("the-token-of-the-engine-itself")
    async with (
        live(FakeEngine(TEXT), token=own.read_text()) as engine,
        relayed(engine.base_url, token_file=str(own)) as client,
    ):
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/stats?after=0")).json()["engine"]["model_name"] == "fake"
        assert "tersely_prompt_tokens_total" in (await client.get("/metrics")).text
        async with client.stream("GET", "/stats/events") as response:
            assert (await anext(events(response)))["latest"] == 0
        for path in ("/v1/completions", "/v1/models", "/tokenize", "/feedback", "/health"):
            assert (await client.post(path, json={"prompt": "x"})).status_code == 404
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/stats?after=x")).status_code == 400
        for path in ("/stats", "/stats/events", "/metrics"):
            assert (await client.get(path, headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_a_relay_says_that_the_engine_is_gone():
    async with relayed(httpx.URL("http://127.0.0.1:9")) as client:
        for path in ("/stats", "/stats/events"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "does not answer" in answer.json()["error"]["message"]
