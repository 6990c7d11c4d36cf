"""Continue's own client code, out of its package, over the engine's endpoints."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from model.api import Segment
from model.service.app import create_app
from model.service.host import ready_host
from tests.editors.tools import run_or_skip
from tests.model.service.serving import serve
from tests.model.service.test_clients import QWEN, Talker

pytestmark = pytest.mark.node

CLIENT = Path(__file__).parent / "continue_client"
TEXT = "a, b):\n    return a + b"


def test_the_lock_file_names_no_registry():
    assert "resolved" not in (CLIENT / "package-lock.json").read_text()


async def test_it_fills_holes_converses_and_lists_models():
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed: Continue's client cannot run")
    if not (CLIENT / "node_modules" / "@continuedev" / "openai-adapters").is_dir():
        install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        run_or_skip("Continue's client", *install, cwd=CLIENT, timeout_s=240)
    engine = Talker(TEXT, info=QWEN)
    async with serve(create_app(ready_host(engine, name="fake"))) as url:
        process = await asyncio.create_subprocess_exec(
            "node",
            CLIENT / "ask.js",
            f"{url}/v1/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaints = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, complaints.decode()
    assert json.loads(printed) == {"hole": TEXT, "streamed": TEXT, "whole": TEXT, "models": ["fake"]}
    [hole] = [request for request in engine.requests if Segment("<|fim_middle|>", special=True) in request.prompt]
    assert [part.text for part in hole.prompt if isinstance(part, Segment)][1::2] == ["def add(", "\n"]
