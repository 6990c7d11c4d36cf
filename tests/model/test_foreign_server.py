"""The HTTP engine against servers that we did not write, on the embedded model's own file: llama.cpp's own, which comes
with xllamacpp's wheel, and llama-cpp-python's, in the interpreter that TERSELY_LLAMA_CPP_PYTHON names.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from model import hub
from model.api import Chunk, FinishReason, GenerateRequest, SamplingParams
from model.errors import EngineAuthError, EngineError, RequestError
from model.local import LocalEngine
from model.remote import HttpEngine

pytestmark = [pytest.mark.model, pytest.mark.slow]

PYTHON = os.environ.get("TERSELY_LLAMA_CPP_PYTHON", sys.executable)
PROMPT = "def add(left: int, right: int) -> int:\n    return"
_STARTING_S = 120


def _has(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


def _llama_cpp(model: Path, port: int, token: str) -> list[str]:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (pip install xllamacpp)")
    return [sys.executable, str(Path(__file__).with_name("llama_server.py")), str(model), str(port), token]


def _llama_cpp_python(model: Path, port: int, token: str) -> list[str]:
    if not _has(PYTHON, "llama_cpp.server.app"):
        pytest.skip('llama-cpp-python\'s server is not installed (pip install "llama-cpp-python[server]")')
    command = [PYTHON, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    return [
        *command,
        "--n_ctx",
        "1024",
        "--n_threads",
        "1",
        "--api_key",
        token,
        "--model_alias",
        "small",
        "--logits_all",
        "true",
    ]


SERVERS = {"llama.cpp": _llama_cpp, "llama-cpp-python": _llama_cpp_python}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The server's URL and its token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    command = SERVERS[request.param](hub.pull(hub.DEFAULT_MODEL), port, token)
    log = (tmp_path_factory.mktemp("llama") / "log").open("w+")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        _await_answer(f"http://127.0.0.1:{port}", token, process, Path(log.name))
        yield f"http://127.0.0.1:{port}", token
    finally:
        process.kill()
        process.wait()
        log.close()


def _await_answer(url: str, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        for _ in range(_STARTING_S * 4):
            if process.poll() is not None:
                break
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{url}/v1/models").status_code == 200:
                    return
            time.sleep(0.25)
    raise AssertionError(f"the server does not answer: {log.read_text()[-2000:]}")


@pytest.fixture
async def engine(server: tuple[str, str]) -> AsyncIterator[HttpEngine]:
    """A client of that server."""
    url, token = server
    remote = HttpEngine(url, token=token)
    yield remote
    await remote.aclose()


async def _collect(engine: HttpEngine | LocalEngine, request: GenerateRequest) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


async def test_it_is_known_as_foreign(engine: HttpEngine) -> None:
    info = await engine.info()
    assert info.name == "small"
    assert info.architecture == "remote"
    assert info.fim_family == "none"


async def test_its_greedy_text_is_ours_and_as_likely(engine: HttpEngine) -> None:
    sampling = SamplingParams(max_tokens=6, logprobs=2)
    theirs = await _collect(engine, GenerateRequest(prompt=PROMPT, sampling=sampling))
    local = await asyncio.to_thread(LocalEngine.load, hub.pull(hub.DEFAULT_MODEL), threads=1)
    ours = await _collect(local, GenerateRequest(prompt=PROMPT, sampling=sampling))
    await local.aclose()
    assert "".join(chunk.text for chunk in theirs) == "".join(chunk.text for chunk in ours) != ""
    told, known = ([row for chunk in chunks for row in chunk.logprobs] for chunks in (theirs, ours))
    assert [row.text for row in told] == [row.text for row in known]
    assert all(len(row.top) == 2 for row in told)
    assert [row.logprob for row in told] == pytest.approx([row.logprob for row in known], abs=0.2)  # each in few bits


async def test_a_stream_comes_in_pieces_and_ends_with_reason_and_counts(engine: HttpEngine) -> None:
    chunks = await _collect(engine, GenerateRequest(prompt=PROMPT, sampling=SamplingParams(max_tokens=5)))
    assert sum(bool(chunk.text) for chunk in chunks) > 1
    assert chunks[-1].finish_reason is FinishReason.LENGTH
    assert chunks[-1].usage is not None


async def test_stop_strings_are_kept_out(engine: HttpEngine) -> None:
    sampling = SamplingParams(max_tokens=24, stop=("\n",))
    chunks = await _collect(engine, GenerateRequest(prompt=PROMPT, sampling=sampling))
    assert "\n" not in "".join(chunk.text for chunk in chunks)
    assert chunks[-1].finish_reason is FinishReason.STOP


async def test_leaving_early_does_not_hold_up_the_next(engine: HttpEngine) -> None:
    stream = engine.generate(GenerateRequest(prompt=PROMPT, sampling=SamplingParams(max_tokens=900, ignore_eos=True)))
    async for _ in stream:
        break
    await stream.aclose()
    after = await asyncio.wait_for(
        _collect(engine, GenerateRequest(prompt=PROMPT, sampling=SamplingParams(max_tokens=2))), timeout=60
    )
    assert after[-1].finish_reason is FinishReason.LENGTH


async def test_tokens_are_counted_there_or_estimated(engine: HttpEngine) -> None:
    short, long = await engine.count_tokens(("a", PROMPT * 4))
    assert 0 < short < long


async def test_a_prompt_that_is_too_long_is_an_error_of_ours(engine: HttpEngine) -> None:
    with pytest.raises(EngineError):
        await _collect(engine, GenerateRequest(prompt=PROMPT * 200, sampling=SamplingParams(max_tokens=2)))


async def test_a_wrong_token_is_told(server: tuple[str, str]) -> None:
    remote = HttpEngine(server[0], token="wrong")
    with pytest.raises(EngineAuthError):
        await remote.info()
    await remote.aclose()


async def test_a_model_that_is_not_there_is_told(server: tuple[str, str]) -> None:
    remote = HttpEngine(server[0], token=server[1], model="large")
    with pytest.raises(RequestError, match="small"):
        await remote.info()
    await remote.aclose()
