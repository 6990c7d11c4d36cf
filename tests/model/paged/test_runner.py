"""Sequences that are stepped together get what each gets alone: text, ends, log-probabilities, grammars, chance."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from model.api import Chunk, FinishReason, GenerateRequest, Grammar, GrammarKind, Priority, SamplingParams, Usage
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.constraint import Constraints
from model.decoder import Decoder
from model.errors import EngineError, RequestError
from model.paged.runner import PagedRunner
from model.paged.stage import Stage
from model.scheduler import Scheduler
from model.sequence import Sequence
from model.tokenizer import Tokenizer, read_tokenizer
from tests.model.paged.models import DEVICE, paged
from tests.model.tiny import CONTEXT, write_tiny

Loaded = tuple[Decoder, Tokenizer]
PROMPTS = [
    [25, 9, 22, 7, 7, 13, 11, 40],
    [11] * 70,
    [33, 34] * 20,
    list(range(20, 100)),
    [33, 34] * 20 + [9],
    [21],
    [8, 16] * 45,
    [12, 12, 12],
    [30, 31, 32] * 12,
]
GREEDY = SamplingParams(max_tokens=24, ignore_eos=True)
SAMPLINGS = [
    GREEDY,
    SamplingParams(max_tokens=9, temperature=1.0, seed=4, ignore_eos=True),
    SamplingParams(max_tokens=14, temperature=0.7, top_k=5, top_p=0.8, seed=2**64 - 3, ignore_eos=True),
    SamplingParams(max_tokens=6, logprobs=2, ignore_eos=True),
    SamplingParams(max_tokens=11, temperature=0.9, seed=1, logprobs=1, ignore_eos=True),
    SamplingParams(max_tokens=20, grammar=Grammar(kind=GrammarKind.REGEX, text="(ab|cde){2,5}")),
    SamplingParams(max_tokens=30, stop=("e",), ignore_eos=True),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    with GgufFile(write_tiny(tmp_path_factory.mktemp("runner") / "m.gguf")) as file:
        checkpoint = GgufCheckpoint(file)
        return fill_decoder(checkpoint.config, checkpoint.weights()).to(DEVICE), read_tokenizer(file)


@dataclass(frozen=True)
class Outcome:
    """What a client sees, but for time, chunks, and how much was cached."""

    text: str
    tokens: tuple[int, ...]
    reason: FinishReason | None


class Table:
    """The engine's loop: a scheduler, a runner, and sequences with what they sent."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        pages: int = 60,
        slots: int = 12,
        steady: bool = False,
        drafts: bool = False,
        running: int = 8,
    ) -> None:
        decoder, self.tokenizer = loaded
        made, self.caches = paged(decoder, pages=pages, slots=slots)
        stage = Stage(made, most_tokens=CONTEXT + 8, capture=False) if steady else None
        self.runner = PagedRunner(made, self.caches, stage=stage, prompt_tokens=48, drafts=drafts)
        self.scheduler = Scheduler(running=running, queue=99)
        self.sent: dict[Sequence, list[Chunk | EngineError]] = {}
        self.constraints = Constraints(self.tokenizer, self.tokenizer.end_ids)
        self.together = 0

    def add(self, prompt: list[int], sampling: SamplingParams, priority: Priority = Priority.INTERACTIVE) -> Sequence:
        sent: list[Chunk | EngineError] = []
        sequence = Sequence(
            GenerateRequest(prompt=tuple(prompt), sampling=sampling, priority=priority),
            prompt,
            tokenizer=self.tokenizer,
            end_ids=self.tokenizer.end_ids,
            max_tokens=min(sampling.max_tokens, CONTEXT - len(prompt)),
            sink=sent.append,
            constraint=None if sampling.grammar is None else self.constraints.start(sampling.grammar),
        )
        self.sent[sequence] = sent
        self.scheduler.add(sequence)
        return sequence

    def step(self) -> list[Sequence]:
        for gone in self.scheduler.take_cancelled():
            gone.abort()
            self.runner.release(gone)
        picked = self.runner.pick(self.scheduler.turns())
        if not picked:
            return []
        self.together = max(self.together, len(picked))
        for sequence, outcome in zip(picked, self.runner.step(picked), strict=True):
            assert not isinstance(outcome, RequestError)
            if outcome:
                sequence.accept(outcome)
            if sequence.finish_reason is None:
                self.scheduler.rotate(sequence)
            else:
                self.scheduler.remove(sequence)
                self.runner.release(sequence)
        return picked

    def finish(self) -> None:
        while self.step():
            pass

    def outcome(self, sequence: Sequence) -> Outcome:
        chunks = [chunk for chunk in self.sent[sequence] if isinstance(chunk, Chunk)]
        return Outcome("".join(chunk.text for chunk in chunks), tuple(sequence.generated), sequence.finish_reason)


@pytest.fixture(scope="module")
def alone(loaded: Loaded) -> dict[tuple[int, int], Outcome]:
    """Every prompt with every way to sample, one after another, each in a table of its own."""
    found = {}
    for number, prompt in enumerate(PROMPTS):
        sampling = number % len(SAMPLINGS)
        table = Table(loaded)
        sequence = table.add(prompt, SAMPLINGS[sampling])
        table.finish()
        found[number, sampling] = table.outcome(sequence)
    return found


def expected(alone: dict[tuple[int, int], Outcome], number: int) -> Outcome:
    return alone[number, number % len(SAMPLINGS)]


@pytest.mark.parametrize("steady", [False, True], ids=["any shape", "fixed shapes"])
@pytest.mark.parametrize("pages", [60, 7], ids=["room", "crowded"])
@pytest.mark.parametrize("late", [0, 3], ids=["at once", "one after another"])
def test_together_as_alone(
    loaded: Loaded, alone: dict[tuple[int, int], Outcome], steady: bool, pages: int, late: int
) -> None:
    table = Table(loaded, steady=steady, pages=pages)
    sequences = []
    for number, prompt in enumerate(PROMPTS):
        sequences.append(table.add(prompt, SAMPLINGS[number % len(SAMPLINGS)]))
        for _ in range(late):
            table.step()
    table.finish()
    for number, sequence in enumerate(sequences):
        assert table.outcome(sequence) == expected(alone, number)
    assert table.together > 1
    assert table.caches.pool.free_pages + table.caches.kept_pages == pages - 1


def alone_with(loaded: Loaded, prompt: list[int], sampling: SamplingParams) -> Outcome:
    table = Table(loaded)
    sequence = table.add(prompt, sampling)
    table.finish()
    return table.outcome(sequence)


@pytest.mark.parametrize("steady", [False, True], ids=["any shape", "fixed shapes"])
def test_drafts_change_no_token(loaded: Loaded, alone: dict[tuple[int, int], Outcome], steady: bool) -> None:
    table = Table(loaded, steady=steady, drafts=True)
    sequences = [table.add(prompt, SAMPLINGS[n % len(SAMPLINGS)]) for n, prompt in enumerate(PROMPTS)]
    table.finish()
    for number, sequence in enumerate(sequences):
        assert table.outcome(sequence) == expected(alone, number)
    together = table.runner.drafted
    single = table.add(PROMPTS[2], GREEDY)
    table.finish()
    assert table.outcome(single).tokens == alone_with(loaded, PROMPTS[2], GREEDY).tokens
    assert table.runner.drafted > together


def test_logprobs_are_the_models(loaded: Loaded) -> None:
    table = Table(loaded, steady=True)
    sequence = table.add(PROMPTS[3], SamplingParams(max_tokens=5, logprobs=2, ignore_eos=True))
    other = table.add(PROMPTS[1], GREEDY)
    table.finish()
    found = [entry for chunk in table.sent[sequence] if isinstance(chunk, Chunk) for entry in chunk.logprobs]
    decoder, _ = loaded
    whole = [*PROMPTS[3], *sequence.generated]
    with torch.no_grad():
        logits = decoder.head(decoder(torch.tensor([whole], device=DEVICE))[0])
    wanted = torch.log_softmax(logits.float(), -1)
    for place, entry in enumerate(found, len(PROMPTS[3]) - 1):
        assert entry.logprob == pytest.approx(float(wanted[place, entry.token_id]), abs=1e-4)
        assert len(entry.top) == 2
    assert len(other.generated) == 24


def test_the_interactive_class_overtakes_between_steps(loaded: Loaded) -> None:
    table = Table(loaded)
    slow = [table.add(prompt, GREEDY, Priority.BATCH) for prompt in PROMPTS[:3]]
    for _ in range(5):
        table.step()
    before = [len(sequence.generated) for sequence in slow]
    quick = table.add(PROMPTS[0], SamplingParams(max_tokens=4, ignore_eos=True))
    while quick.finish_reason is None:
        assert table.step() == [quick]
    assert [len(sequence.generated) for sequence in slow] == before
    table.finish()
    assert all(len(sequence.generated) == 24 for sequence in slow)


def test_who_cancels_is_gone_with_the_next_step_and_leaves_its_keys(loaded: Loaded) -> None:
    table = Table(loaded)
    first, second = table.add(PROMPTS[3], GREEDY), table.add(PROMPTS[1], GREEDY)
    while not (first.generated and second.generated):
        table.step()
    first.cancelled = True
    assert table.step() == [second]
    assert first.finish_reason is FinishReason.ABORT
    again = table.add(PROMPTS[3], SamplingParams(max_tokens=1, ignore_eos=True))
    table.finish()
    assert again.cached_tokens == len(PROMPTS[3]) - 1


def test_prompts_that_begin_alike_at_once_share_what_is_read(loaded: Loaded) -> None:
    table = Table(loaded)
    first = table.add(PROMPTS[3] + [4], GREEDY)
    while not first.generated:
        table.step()
    second = table.add(PROMPTS[3] + [5], GREEDY)
    table.finish()
    assert second.cached_tokens == 64
    (last,) = [chunk for chunk in table.sent[second] if isinstance(chunk, Chunk) and chunk.finish_reason]
    assert isinstance(last.usage, Usage)
    assert last.usage.cached_tokens == 64


def test_long_prompts_let_others_through(loaded: Loaded) -> None:
    """A prompt is read in parts; those who write are stepped between them."""
    table = Table(loaded)
    writer = table.add([21], SamplingParams(max_tokens=30, ignore_eos=True))
    table.step()
    table.add([50 + n % 30 for n in range(200)], GREEDY)
    turns = [table.step() for _ in range(8)]
    assert sum(turn == [writer] for turn in turns) >= 3
    table.finish()


def test_two_that_do_not_fit_together_do_not_drive_each_other_out_for_ever(loaded: Loaded) -> None:
    """Four pages; each needs three. One waits, and neither reads its prompt again and again."""
    table = Table(loaded, pages=5)
    prompts = [[40 + n % 7 for n in range(150)], [60 + n % 11 for n in range(150)]]
    sequences = [table.add(prompt, GREEDY) for prompt in prompts]
    table.finish()
    assert table.runner.steps < 2 * (150 // 48 + 1 + 24) + 8
    for prompt, sequence in zip(prompts, sequences, strict=True):
        alone = Table(loaded)
        single = alone.add(prompt, GREEDY)
        alone.finish()
        assert table.outcome(sequence) == alone.outcome(single)


def test_a_sequence_that_can_never_fit_is_refused(loaded: Loaded) -> None:
    table = Table(loaded, pages=3)
    table.add([7] * 150, GREEDY)
    with pytest.raises(RequestError, match="not enough memory") as caught:
        table.finish()
    assert caught.value.hint
    assert table.runner.most_tokens == 2 * 64 - 8
