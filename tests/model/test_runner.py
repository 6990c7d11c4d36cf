"""Steps that compute drafts along against steps of one token: the same tokens, log-probabilities, text and end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.api import Chunk, FinishReason, GenerateRequest, SamplingParams, TokenLogprob, Usage
from model.checkpoint.gguf import GgufFile
from model.constraint import Constraints
from model.drafts import StepCosts
from model.errors import EngineError
from model.load import Served, load_served
from model.packer import Quantize
from model.prefix_cache import PrefixCache
from model.runner import Runner
from model.sequence import Sequence
from model.tokenizer import Tokenizer, read_tokenizer
from tests.model.tiny import CONTEXT, write_tiny

Q4_1 = gguf.GGMLQuantizationType.Q4_1


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Served, Tokenizer]:
    path = write_tiny(tmp_path_factory.mktemp("runner") / "m.gguf", quantization=Q4_1)
    with GgufFile(path) as file:
        return load_served(file, dtype=torch.bfloat16, quantize=Quantize.INT8), read_tokenizer(file)


class SteadyCosts(StepCosts):
    """Learns nothing from the clock, so that the same drafts are made on any machine."""

    def record(self, rows: int, spent_ms: float) -> None:
        assert rows >= 1
        assert spent_ms > 0


@dataclass(frozen=True)
class Outcome:
    """All that a client sees, but for time and how it was cut into chunks."""

    text: str
    logprobs: tuple[TokenLogprob, ...]
    reason: FinishReason | None
    usage: Usage | None
    held: tuple[int, ...]


def play(
    loaded: tuple[Served, Tokenizer], prompt: list[int], sampling: SamplingParams, *, drafts: bool
) -> tuple[Outcome, Runner, list[Chunk]]:
    served, tokenizer = loaded
    runner = Runner(
        served.decoder,
        served.head,
        PrefixCache(served.decoder.kv_shape, budget_bytes=10**9, slots=4),
        drafts=drafts,
        costs=SteadyCosts(),
    )
    chunks: list[Chunk] = []

    def sink(item: Chunk | EngineError) -> None:
        assert isinstance(item, Chunk)
        chunks.append(item)

    sequence = Sequence(
        GenerateRequest(prompt=tuple(prompt), sampling=sampling),
        prompt,
        tokenizer=tokenizer,
        end_ids=tokenizer.end_ids,
        max_tokens=min(sampling.max_tokens, CONTEXT - len(prompt)),
        sink=sink,
        constraint=(
            None if sampling.grammar is None else Constraints(tokenizer, tokenizer.end_ids).start(sampling.grammar)
        ),
    )
    while sequence.finish_reason is None:
        choices = runner.run(sequence)
        assert sequence.cache is not None
        assert len(sequence.cache.tokens) <= len(prompt) + len(sequence.generated) + len(choices) - bool(choices)
        if choices:
            sequence.accept(choices)
    whole = prompt + sequence.generated
    assert sequence.cache is not None
    held = sequence.cache.tokens[: len(whole)]
    assert held == whole[: len(held)]
    outcome = Outcome(
        text="".join(chunk.text for chunk in chunks),
        logprobs=tuple(logprob for chunk in chunks for logprob in chunk.logprobs),
        reason=chunks[-1].finish_reason,
        usage=chunks[-1].usage,
        held=tuple(held),
    )
    return outcome, runner, chunks


SAMPLINGS = st.builds(
    SamplingParams,
    max_tokens=st.integers(1, 60),
    stop=st.lists(st.sampled_from(["the", "i", "\n", "ret", " ", "int th"]), max_size=2).map(tuple),
    ignore_eos=st.booleans(),
    logprobs=st.sampled_from([None, 0, 2]),
)
PROMPTS = st.lists(st.lists(st.integers(6, 200), min_size=1, max_size=5), min_size=1, max_size=4).map(
    lambda parts: [token for part in parts for token in part * 4]
)


@settings(max_examples=60, deadline=None)
@given(prompt=PROMPTS, sampling=SAMPLINGS)
def test_greedy_with_drafts_equals_greedy_without(
    loaded: tuple[Served, Tokenizer], prompt: list[int], sampling: SamplingParams
) -> None:
    with_drafts, _, _ = play(loaded, prompt, sampling, drafts=True)
    without, runner, _ = play(loaded, prompt, sampling, drafts=False)
    assert with_drafts == without
    assert runner.drafted == 0


def test_drafts_are_taken_several_at_a_step_and_rolled_back(loaded: tuple[Served, Tokenizer]) -> None:
    drafted = accepted = longest = 0
    for seed in range(8):
        prompt = torch.randint(6, 200, (12,), generator=torch.Generator().manual_seed(seed)).tolist() * 3
        sampling = SamplingParams(max_tokens=120, ignore_eos=True, logprobs=0)
        outcome, runner, chunks = play(loaded, prompt, sampling, drafts=True)
        assert len(outcome.logprobs) == 120
        assert runner.steps == len(chunks) == 120 - runner.accepted
        longest = max(longest, *(len(chunk.logprobs) for chunk in chunks))
        drafted += runner.drafted
        accepted += runner.accepted
    assert 0 < accepted < drafted
    assert longest > 1


def test_sampled_text_is_drawn_token_by_token(loaded: tuple[Served, Tokenizer]) -> None:
    sampling = SamplingParams(max_tokens=40, temperature=0.5, seed=3, ignore_eos=True)
    first, runner, _ = play(loaded, [7, 8, 9] * 8, sampling, drafts=True)
    second, _, _ = play(loaded, [7, 8, 9] * 8, sampling, drafts=False)
    assert first == second
    assert runner.drafted == 0


def test_drafts_stay_within_the_context(loaded: tuple[Served, Tokenizer]) -> None:
    prompt = [7, 8, 9, 10] * (CONTEXT // 4 - 2)
    outcome, runner, _ = play(loaded, prompt, SamplingParams(max_tokens=10**6, ignore_eos=True), drafts=True)
    assert outcome.reason is FinishReason.LENGTH
    assert outcome.usage is not None
    assert outcome.usage.completion_tokens == CONTEXT - len(prompt)
    assert runner.steps > 1


def test_the_first_chunk_says_how_many_tokens_it_has(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf")
    with GgufFile(path) as file:
        served, tokenizer = load_served(file, dtype=torch.float32, quantize=Quantize.NONE), read_tokenizer(file)
    outcome, _, chunks = play((served, tokenizer), [7, 8, 9] * 9, SamplingParams(max_tokens=9, logprobs=0), drafts=True)
    counts = [chunk.usage.completion_tokens for chunk in chunks if chunk.usage is not None]
    assert counts == sorted(counts)
    assert counts[-1] == len(outcome.logprobs)
