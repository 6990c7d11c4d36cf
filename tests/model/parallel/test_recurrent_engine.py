"""Engines of two processes with recurrent layers: the text of one, with slots so few that states are taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, Priority, SamplingParams, Usage
from model.local import LocalEngine
from model.open_model import open_on_device
from model.packer import Quantize
from model.paged.decoder import PagedDecoder
from model.paged.gathered import GatheredAttention
from model.paged.runner import PagedRunner
from model.paged.states import StatePool, slot_bytes
from model.parallel.parts import open_in_parts
from tests.model.parallel.test_shard import EVEN, RECURRENT
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny_hf import write_hf

CPU = torch.device("cpu")
SLOTS = 7
CASES = {
    "mamba-2": (RECURRENT["mamba-2"], Quantize.NONE),
    "granite-4": (RECURRENT["granite-4"], Quantize.NONE),
    "qwen3-next": (EVEN["qwen3-next"], Quantize.INT4),
}
"""Of Mamba-2 each process has a group, of Granite 4 half of one; four bits cut between the groups of their scales."""
BEGIN = tuple(range(20, 100))
PROMPTS = (
    BEGIN,
    tuple(range(3, 90, 2)),
    (*BEGIN, 7, 8),
    (9, 9, 9),
    (*BEGIN[:-3], 11),
    (5,) * 130,
    BEGIN,
    (*BEGIN, 7, 8, 9, 10),
    tuple(range(100, 30, -1)),
    (9, 9, 8),
)
GREEDY = SamplingParams(max_tokens=12, ignore_eos=True, logprobs=0)
DRAWN = SamplingParams(max_tokens=9, ignore_eos=True, temperature=0.8, seed=3, logprobs=0)


@dataclass
class Pair:
    """The same model in one process and in two, which have few slots."""

    one: LocalEngine
    two: LocalEngine

    @property
    def states(self) -> StatePool:
        runner = self.two._runner
        assert isinstance(runner, PagedRunner)
        return runner._caches.states


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    case, quantize = CASES[request.param]
    folder = write_tokenizer(write_hf(tmp_path_factory.mktemp("recurrent") / "tiny", case))
    made = Pair(_one(folder, quantize), _two(folder, quantize))
    yield made
    asyncio.run(made.one.aclose())
    asyncio.run(made.two.aclose())


def _one(folder: Path, quantize: Quantize) -> LocalEngine:
    """In the number format as a part has it: that of GPUs."""
    loaded, tokenizer = open_on_device(folder, CPU, dtype=torch.float32, quantize=quantize, room_bytes=10**9)
    return LocalEngine(loaded, tokenizer, name="whole")


def _two(folder: Path, quantize: Quantize) -> LocalEngine:
    loaded, tokenizer = open_in_parts(folder, devices=(CPU, CPU), dtype=torch.float32, quantize=quantize)
    shape = PagedDecoder(loaded.reference, GatheredAttention()).kv_shape
    each_bytes = SLOTS * slot_bytes(shape) * (2 if shape.layers else 1)
    return LocalEngine(loaded, tokenizer, name="parts", cache_bytes=2 * each_bytes)


async def write(
    engine: LocalEngine, prompt: tuple[int, ...], sampling: SamplingParams = GREEDY, *, priority: Priority | None = None
) -> tuple[list[int], Usage]:
    request = GenerateRequest(prompt=prompt, sampling=sampling, priority=priority or Priority.INTERACTIVE)
    chunks = [chunk async for chunk in engine.generate(request)]
    usage = chunks[-1].usage
    assert usage is not None
    return [row.token_id for chunk in chunks for row in chunk.logprobs], usage


async def test_two_processes_write_what_one_does(pair: Pair) -> None:
    assert pair.states.slots == SLOTS
    samplings = [(GREEDY, DRAWN)[number % 2] for number in range(len(PROMPTS))]
    calls = list(zip(PROMPTS, samplings, strict=True))
    expected = [(await write(pair.one, *call))[0] for call in calls]
    priorities = [list(Priority)[number // 2 % 2] for number in range(len(calls))]
    together = await asyncio.gather(
        *(write(pair.two, *call, priority=priority) for call, priority in zip(calls, priorities, strict=True))
    )
    assert [tokens for tokens, _ in together] == expected
    assert pair.states.free_slots == 0  # so states were taken over
    cached = []
    for call, tokens in zip(calls, expected, strict=True):
        found, usage = await write(pair.two, *call)
        assert found == tokens
        cached.append(usage.cached_tokens)
        if call[0] == BEGIN:
            again, usage = await write(pair.two, *call)
            assert again == tokens
            assert usage.cached_tokens == len(BEGIN) - 1
    assert sum(count > 0 for count in cached) > 1


async def test_a_cancelled_request_leaves_true_states_in_both(pair: Pair) -> None:
    prompt = tuple(range(90, 20, -2))
    expected = (await write(pair.one, prompt))[0]
    sampling = SamplingParams(max_tokens=3000, ignore_eos=True, logprobs=0)
    chunks = pair.two.generate(GenerateRequest(prompt=prompt, sampling=sampling))
    written: list[int] = []
    async for chunk in chunks:
        written += [row.token_id for row in chunk.logprobs]
        if len(written) >= 5:
            break
    await chunks.aclose()  # type: ignore[attr-defined]
    again, usage = await write(pair.two, (*prompt, *expected[:4]))
    assert usage.cached_tokens > 0
    assert expected[:4] + again[:8] == expected
