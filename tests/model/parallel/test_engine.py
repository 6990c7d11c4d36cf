"""An engine of two processes over gloo: the text of one, and an end with a clear word when a process dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from model.api import GenerateRequest, Priority, SamplingParams
from model.errors import EngineUnavailableError, UsageError
from model.local import LocalEngine
from model.paged.runner import PagedRunner
from model.parallel.followers import Followers
from model.service import launcher
from model.service.options import EngineOptions
from tests.model.service.conftest import home as home
from tests.model.service.serving import until
from tests.model.service.test_process import remote_of
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny import write_tiny
from tests.model.tiny_hf import CASES, write_hf

PROMPTS = (
    tuple(range(3, 90, 2)),
    tuple(range(20, 120)),
    (*range(20, 100), 7),  # begins as the one before: whole pages are shared, and a tail is copied
    (9, 9, 9),
)
GREEDY = SamplingParams(max_tokens=12, ignore_eos=True, logprobs=0)
DRAWN = SamplingParams(max_tokens=12, ignore_eos=True, temperature=0.8, seed=3, logprobs=0)


@dataclass
class Pair:
    """The same model in one process and in two."""

    one: LocalEngine
    two: LocalEngine


@pytest.fixture(scope="module", params=["mixtral", "mistral-large-4-shared"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(write_hf(tmp_path_factory.mktemp("parts") / "tiny", CASES[request.param]))


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[Pair]:
    one = LocalEngine.load(folder, dtype="float32", quantize="none", device="cpu", threads=1)
    two = LocalEngine.load(folder, dtype="float32", quantize="none", device="cpu", threads=1, processes=2)
    yield Pair(one, two)
    followers = two._followers
    assert followers is not None
    asyncio.run(one.aclose())
    asyncio.run(two.aclose())
    assert not any(psutil.pid_exists(pid) for pid in followers.pids)
    assert not followers.place.parent.exists()


async def write(
    engine: LocalEngine, prompt: tuple[int, ...], sampling: SamplingParams, priority: Priority
) -> list[int]:
    request = GenerateRequest(prompt=prompt, sampling=sampling, priority=priority)
    return [row.token_id async for chunk in engine.generate(request) for row in chunk.logprobs]


async def test_two_processes_write_what_one_does(pair: Pair) -> None:
    assert isinstance(pair.two._runner, PagedRunner)
    calls = [
        (prompt, (GREEDY, DRAWN)[number % 2], list(Priority)[number % 2])
        for number, prompt in enumerate((*PROMPTS, *reversed(PROMPTS)))
    ]
    expected = [await write(pair.one, *call) for call in calls]
    assert await asyncio.gather(*(write(pair.two, *call) for call in calls)) == expected
    again = [await write(pair.two, *call) for call in calls]  # from the cache, one after another
    assert again == expected


async def test_a_cancelled_request_ends_in_both(pair: Pair) -> None:
    long = GenerateRequest(prompt=(5, 6), sampling=SamplingParams(max_tokens=3000, ignore_eos=True))
    chunks = pair.two.generate(long)
    await anext(aiter(chunks))
    await chunks.aclose()  # type: ignore[attr-defined]
    before = pair.two.steps
    assert await write(pair.two, PROMPTS[3], GREEDY, Priority.INTERACTIVE) == await write(
        pair.one, PROMPTS[3], GREEDY, Priority.INTERACTIVE
    )
    assert pair.two.steps - before < 40


async def test_a_second_model_in_parts_is_refused_in_one_process(pair: Pair, folder: Path) -> None:
    with pytest.raises(UsageError, match="already") as caught:
        LocalEngine.load(folder, device="cpu", processes=2)
    assert caught.value.hint


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
async def test_the_death_of_a_process_ends_the_engine(home: Path) -> None:
    path = write_tiny(home / "tiny.gguf", metadata={"llama.context_length": 4096})
    options = EngineOptions(
        model=str(path), device="cpu", dtype="bfloat16", quantize="int8", threads=1, processes=2, idle_unload_s=None
    )
    process = launcher.spawn(options, output=home / "out")
    await until(lambda: launcher.find(options))
    engine = launcher.find(options)
    assert engine is not None
    remote = remote_of(engine)
    sampling = SamplingParams(max_tokens=4000, ignore_eos=True)
    chunks = aiter(remote.generate(GenerateRequest(prompt="int", sampling=sampling)))
    assert (await anext(chunks)).finish_reason is None
    (follower,) = psutil.Process(engine.pid).children()
    follower.kill()
    with pytest.raises(EngineUnavailableError, match=r"process 1 of 2 died \(exit code -9\)") as caught:
        async for _ in chunks:
            pass
    assert "next request" in caught.value.hint
    await remote.aclose()
    assert await asyncio.to_thread(process.wait, 30) == EngineUnavailableError.exit_code
    assert "process 1 of 2 died (exit code -9)" in (home / "out").read_text()
    assert launcher.list_engines() == ()


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
def test_a_process_that_dies_before_it_has_its_part(tmp_path: Path) -> None:
    followers = Followers(1)
    os.kill(followers.pids[0], signal.SIGKILL)
    with pytest.raises(EngineUnavailableError, match="exit code -9"):
        followers.expect_reports()
    followers.stop()


def test_processes_end_with_the_one_that_leads() -> None:
    followers = Followers(1)
    (process,) = followers._processes
    assert process.stdin is not None
    process.stdin.close()  # as the system does when we are killed
    assert process.wait(60) == 1
    followers.stop()


@pytest.mark.parametrize(
    ("case", "processes", "quantize", "message"),
    [
        ("mixtral", 3, "none", "4 attention heads cannot be shared by 3"),
        ("mamba-2", 3, "none", "8 recurrent heads cannot be shared by 3"),
    ],
)
def test_what_cannot_be_cut_is_refused_before_anything_starts(
    case: str, processes: int, quantize: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES[case]))
    with pytest.raises(UsageError, match=message) as caught:
        LocalEngine.load(folder, device="cpu", quantize=quantize, processes=processes)
    assert caught.value.hint
