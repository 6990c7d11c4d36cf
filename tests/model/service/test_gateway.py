"""An engine whose model is the URL of another server: what goes in comes out, through our own door."""

from __future__ import annotations

from pathlib import Path

import httpx

from model.api import GenerateRequest, SamplingParams, Segment
from model.fake import FakeEngine
from model.remote import HttpEngine
from model.service.app import create_app
from model.service.auth import write_token
from model.service.host import ModelHost, ready_host
from model.service.loading import loader
from model.service.options import EngineOptions
from tests.model.service.serving import serve


async def test_a_gateway_passes_prompts_on_and_shows_the_token(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token = write_token(token_file)
    behind = FakeEngine("one two three")
    async with serve(create_app(ready_host(behind), token=token)) as upstream:
        options = EngineOptions(model=upstream, upstream_token_file=token_file)
        gateway = ModelHost(loader(options), name=options.model_name)
        async with serve(create_app(gateway)) as url:
            engine = HttpEngine(url)
            request = GenerateRequest(prompt=(Segment("a"), Segment("b")), sampling=SamplingParams(max_tokens=2))
            text = "".join([chunk.text async for chunk in engine.generate(request)])
            page = await _get(f"{url}/metrics")
            await engine.aclose()
        await gateway.aclose()
    assert text == "one two"
    assert len(behind.requests) == 1
    assert "tersely_generated_tokens_total 2.0" in page


async def _get(url: str) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).text
