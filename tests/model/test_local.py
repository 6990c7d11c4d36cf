"""The in-process engine through its seam, on the tiny checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from model.api import (
    Chunk,
    Engine,
    FinishReason,
    GenerateRequest,
    Priority,
    Prompt,
    SamplingParams,
    Segment,
    Tokenizing,
)
from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder
from model.errors import CheckpointError, EngineBusyError, EngineUnavailableError, RequestError
from model.load import load_served
from model.local import LocalEngine
from model.packer import Quantize
from model.threads import ThreadPace
from model.tokenizer import read_tokenizer
from tests.model.tiny import CONTEXT, write_tiny

PROMPT = "def the_int(the):\n    return the"


def start(
    path: Path,
    *,
    chunk_tokens: int = 128,
    queue: int = 64,
    cache_bytes: int | None = None,
    quantize: Quantize = Quantize.NONE,
    pace: ThreadPace | None = None,
) -> LocalEngine:
    with GgufFile(path) as file:
        served = load_served(file, dtype=torch.float32, quantize=quantize)
        tokenizer = read_tokenizer(file)
    return LocalEngine(
        served, tokenizer, name="tiny", chunk_tokens=chunk_tokens, queue=queue, cache_bytes=cache_bytes, pace=pace
    )


@pytest.fixture
async def engine(tiny_path: Path) -> AsyncIterator[LocalEngine]:
    engine = start(tiny_path)
    yield engine
    await engine.aclose()


def ask(prompt: Prompt = PROMPT, *, priority: Priority = Priority.INTERACTIVE, **sampling: object) -> GenerateRequest:
    values = {"max_tokens": 24, "ignore_eos": True, **sampling}
    return GenerateRequest(prompt=prompt, sampling=SamplingParams(**values), priority=priority)


async def collect(engine: LocalEngine, request: GenerateRequest) -> tuple[str, Chunk]:
    chunks = [chunk async for chunk in engine.generate(request)]
    assert all(chunk.finish_reason is None for chunk in chunks[:-1])
    assert chunks[-1].finish_reason is not None
    return "".join(chunk.text for chunk in chunks), chunks[-1]


async def test_it_is_an_engine(engine: LocalEngine) -> None:
    assert isinstance(engine, Engine)
    assert isinstance(engine, Tokenizing)
    info = await engine.info()
    assert (info.name, info.architecture, info.fim_family, info.context_tokens) == (
        "tiny",
        "llama",
        "starcoder2",
        CONTEXT,
    )
    assert info.parameters > 0


async def test_tokens_are_counted_without_control_tokens(engine: LocalEngine) -> None:
    assert await engine.count_tokens(("the int", "", "<file_sep>")) == (4, 0, 10)
    assert [len(ids) for ids in await engine.tokenize(("the int", ""))] == [4, 0]


async def test_greedy_equals_the_reference_decoder(engine: LocalEngine, tiny_path: Path) -> None:
    with GgufFile(tiny_path) as file:
        decoder, tokenizer = load_decoder(file), read_tokenizer(file)
    ids = tokenizer.encode(PROMPT)
    with torch.no_grad():
        for _ in range(24):
            ids.append(int(decoder.head(decoder(torch.tensor([ids])))[0, -1].argmax()))
    text, last = await collect(engine, ask())
    assert text == tokenizer.decode(ids[len(tokenizer.encode(PROMPT)) :])
    assert last.finish_reason is FinishReason.LENGTH
    assert last.usage is not None
    assert last.usage.completion_tokens == 24


async def test_cached_equals_fresh_and_is_counted(engine: LocalEngine, tiny_path: Path) -> None:
    fresh, first = await collect(engine, ask())
    cached, second = await collect(engine, ask())
    assert cached == fresh
    assert first.usage is not None
    assert second.usage is not None
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens == second.usage.prompt_tokens - 1
    grown, third = await collect(engine, ask(PROMPT + fresh + "x"))
    other = start(tiny_path)
    assert (await collect(other, ask(PROMPT + fresh + "x")))[0] == grown
    await other.aclose()
    assert third.usage is not None
    assert third.usage.cached_tokens >= second.usage.prompt_tokens


@pytest.mark.parametrize("chunk_tokens", [1, 5, 16])
async def test_chunked_prefill_equals_whole(chunk_tokens: int, engine: LocalEngine, tiny_path: Path) -> None:
    chunked = start(tiny_path, chunk_tokens=chunk_tokens)
    assert (await collect(chunked, ask()))[0] == (await collect(engine, ask()))[0]
    await chunked.aclose()


async def test_the_cache_of_a_cancelled_request_serves_the_next_one_truly(engine: LocalEngine, tiny_path: Path) -> None:
    stream = engine.generate(ask(max_tokens=200))
    taken = ""
    async for chunk in stream:
        taken += chunk.text
        if len(taken) > 5:
            break
    await stream.aclose()
    text, last = await collect(engine, ask(PROMPT + taken))
    fresh = start(tiny_path)
    assert (await collect(fresh, ask(PROMPT + taken)))[0] == text
    await fresh.aclose()
    assert last.usage is not None
    assert last.usage.cached_tokens > 0


async def test_cancelling_stops_within_one_step(engine: LocalEngine) -> None:
    stream = engine.generate(ask(max_tokens=200))
    await anext(stream)
    await stream.aclose()
    steps = engine.steps
    # The next request runs only after the step that was under way: its own steps are all that is added, but one.
    await collect(engine, ask("x", max_tokens=3))
    assert engine.steps <= steps + 1 + 3


async def test_cancelling_while_drafts_are_checked_keeps_only_what_is_true(tiny_path: Path) -> None:
    engine = start(tiny_path, quantize=Quantize.INT8)
    repeating = "return the\n" * 8
    # Many tokens are computed by other kernels than few: compare what starts from the same cached prompt.
    await collect(engine, ask(repeating, max_tokens=1))
    whole, _ = await collect(engine, ask(repeating, max_tokens=100))
    assert engine.drafted[0] > 0
    stream = engine.generate(ask(repeating, max_tokens=100))
    taken = ""
    async for chunk in stream:
        taken += chunk.text
        if len(taken) > 20:
            break
    await stream.aclose()
    steps = engine.steps
    text, last = await collect(engine, ask(repeating, max_tokens=100))
    assert engine.steps <= steps + 1 + 100
    assert text == whole
    assert last.usage is not None
    assert last.usage.completion_tokens == 100
    await engine.aclose()


async def test_cancelling_takes_effect_between_prefill_chunks(tiny_path: Path) -> None:
    engine = start(tiny_path, chunk_tokens=2)
    task = asyncio.create_task(collect(engine, ask("int " * 60)))
    while engine.steps == 0:  # noqa: ASYNC110 - the engine's thread has no event to wait for
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    steps = engine.steps
    await collect(engine, ask("x", max_tokens=1))
    assert engine.steps <= steps + 1 + 1
    await engine.aclose()


async def test_a_core_that_others_take_costs_the_engine_a_thread(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)

    class Slowed(ThreadPace):
        """As if steps took ever longer from the fourth on."""

        seen = 0

        def record(self, spent_ms: float) -> bool:
            self.seen += 1
            return super().record(1.0 if self.seen < 4 else 10.0)

    engine = start(tiny_path, pace=Slowed(2, cores=2, taken=lambda: 1.0))
    whole, _ = await collect(engine, ask(max_tokens=40))
    await engine.aclose()
    assert chosen == [1, 1]  # at the start, as the constructor was told, and once when steps were slow
    plain = start(tiny_path)
    assert (await collect(plain, ask(max_tokens=40)))[0] == whole
    await plain.aclose()


async def test_logprobs_equal_rescoring_with_the_full_softmax(engine: LocalEngine, tiny_path: Path) -> None:
    chunks = [chunk async for chunk in engine.generate(ask(logprobs=3, temperature=0.8, seed=3))]
    found = [logprob for chunk in chunks for logprob in chunk.logprobs]
    with GgufFile(tiny_path) as file:
        decoder, tokenizer = load_decoder(file), read_tokenizer(file)
    prompt = tokenizer.encode(PROMPT)
    ids = prompt + [logprob.token_id for logprob in found]
    with torch.no_grad():
        table = torch.log_softmax(decoder.head(decoder(torch.tensor([ids])))[0], -1)
    assert len(found) == 24
    for place, logprob in enumerate(found, start=len(prompt) - 1):
        assert logprob.logprob == pytest.approx(float(table[place, logprob.token_id]), abs=5e-4)
        best = torch.topk(table[place], 3).values.tolist()
        assert [value for _, value in logprob.top] == pytest.approx(best, abs=5e-4)


async def test_a_seed_reproduces_a_sampled_text(engine: LocalEngine) -> None:
    texts = [(await collect(engine, ask(temperature=1.0, seed=seed)))[0] for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


async def test_a_stop_string_across_tokens_ends_the_text(engine: LocalEngine) -> None:
    whole, _ = await collect(engine, ask(max_tokens=60))
    stop = whole[9:12]
    text, last = await collect(engine, ask(max_tokens=60, stop=(stop,)))
    assert text == whole[: whole.index(stop)]
    assert last.finish_reason is FinishReason.STOP


async def test_end_tokens_end_the_text_unless_ignored(engine: LocalEngine, tiny_path: Path) -> None:
    with GgufFile(tiny_path) as file:
        tokenizer = read_tokenizer(file)
    # With so high a temperature every token comes up in time, the end tokens among them.
    hot = {"temperature": 100.0, "seed": 1, "max_tokens": 220}
    ended, last = await collect(engine, ask("x", ignore_eos=False, **hot))
    assert last.finish_reason is FinishReason.STOP
    assert not any(name in ended for name in ("<|endoftext|>", "<|im_end|>"))
    chunks = [chunk async for chunk in engine.generate(ask("x", logprobs=0, **hot))]
    ids = {logprob.token_id for chunk in chunks for logprob in chunk.logprobs}
    assert ids & tokenizer.end_ids
    assert chunks[-1].finish_reason is FinishReason.LENGTH


async def test_a_token_that_begins_another_file_ends_the_text(tiny_path: Path) -> None:
    engine = LocalEngine.load(tiny_path, threads=1)
    with GgufFile(tiny_path) as file:
        tokenizer = read_tokenizer(file)
    separator = tokenizer.vocabulary["<file_sep>"]
    hot = {"temperature": 100.0, "seed": 1, "max_tokens": 220, "logprobs": 0}
    try:
        chunks = [chunk async for chunk in engine.generate(ask("x", ignore_eos=True, **hot))]
        ids = [logprob.token_id for chunk in chunks for logprob in chunk.logprobs]
        at = ids.index(separator)
        assert not tokenizer.end_ids.intersection(ids[:at])  # nothing else ends it before
        _, last = await collect(engine, ask("x", ignore_eos=False, **hot))
    finally:
        await engine.aclose()
    assert last.finish_reason is FinishReason.STOP
    assert last.usage is not None
    assert last.usage.completion_tokens <= at + 1


async def test_segments_and_ids_are_prompts_too(engine: LocalEngine) -> None:
    marked = (Segment("<fim_prefix>", special=True), Segment("the"), Segment("<fim_middle>", special=True))
    _, last = await collect(engine, ask(marked))
    assert last.usage is not None
    assert last.usage.prompt_tokens == 2 + (await engine.count_tokens(("the",)))[0]
    by_ids = tuple((await engine.tokenize((PROMPT,)))[0])
    assert (await collect(engine, ask(by_ids)))[0] == (await collect(engine, ask()))[0]


async def test_an_empty_prompt_starts_a_document(engine: LocalEngine) -> None:
    text, last = await collect(engine, ask(""))
    assert text
    assert last.usage is not None
    assert last.usage.prompt_tokens == 1


async def test_generation_ends_where_the_context_does(engine: LocalEngine) -> None:
    _, last = await collect(engine, ask(tuple([7] * (CONTEXT - 10)), max_tokens=10**6))
    assert last.finish_reason is FinishReason.LENGTH
    assert last.usage is not None
    assert last.usage.completion_tokens == 10


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ask(tuple([7] * CONTEXT)), "context holds 256"),
        (ask((Segment("<no_such>", special=True),)), "no_such"),
        (ask(temperature=-1.0), "temperature"),
    ],
)
async def test_what_cannot_be_done_is_refused(request_: GenerateRequest, message: str, engine: LocalEngine) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        await collect(engine, request_)
    assert caught.value.hint
    await collect(engine, ask())  # and the engine goes on


async def test_requests_at_the_same_time_do_not_mix(engine: LocalEngine, tiny_path: Path) -> None:
    prompts = [f"the int {letter}" for letter in "abcdefg"]
    together = await asyncio.gather(*(collect(engine, ask(prompt)) for prompt in prompts))
    for prompt, (text, _) in zip(prompts, together, strict=True):
        alone = start(tiny_path)
        assert (await collect(alone, ask(prompt)))[0] == text
        await alone.aclose()


async def test_interactive_overtakes_batch(engine: LocalEngine) -> None:
    batch = asyncio.create_task(collect(engine, ask("batch", priority=Priority.BATCH, max_tokens=240)))
    while engine.steps == 0:  # noqa: ASYNC110 - the engine's thread has no event to wait for
        await asyncio.sleep(0.001)
    await collect(engine, ask("urgent", max_tokens=20))
    assert not batch.done()
    _, last = await batch
    assert last.usage is not None
    assert last.usage.completion_tokens == 240


async def test_a_full_queue_refuses(tiny_path: Path) -> None:
    engine = start(tiny_path, queue=1)
    stream = engine.generate(ask(max_tokens=200))
    await anext(stream)
    with pytest.raises(EngineBusyError):
        await collect(engine, ask())
    await stream.aclose()
    await engine.aclose()


async def test_closing_ends_what_is_under_way_and_what_comes_later(tiny_path: Path) -> None:
    engine = start(tiny_path)
    stream = engine.generate(ask(max_tokens=200))
    await anext(stream)
    await engine.aclose()
    with pytest.raises(EngineUnavailableError):
        async for _ in stream:
            pass
    with pytest.raises(EngineUnavailableError):
        await collect(engine, ask())


async def test_a_step_that_fails_ends_its_request_and_no_other(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = engine._runner._decoder
    whole = decoder.forward

    def fail_on_long(tokens: list[int], *args: object, **named: object) -> torch.Tensor:
        if len(tokens) > 20:
            raise MemoryError("no room")
        return whole(tokens, *args, **named)

    monkeypatch.setattr(decoder, "forward", fail_on_long)
    with pytest.raises(EngineUnavailableError, match="no room"):
        await collect(engine, ask("int " * 40))
    assert (await collect(engine, ask("the")))[0]


async def test_loading_by_path_reads_every_option(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "small.gguf")
    seen: list[float] = []
    engine = LocalEngine.load(
        path, dtype="bfloat16", quantize="int8", threads=1, context_tokens=64, progress=seen.append
    )
    info = await engine.info()
    assert (info.name, info.context_tokens, info.quantization) == ("small", 64, "int8")
    assert seen[-1] == 1.0
    assert (await collect(engine, ask("the")))[0]
    await engine.aclose()


def test_loading_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(CheckpointError):
        LocalEngine.load(path)
