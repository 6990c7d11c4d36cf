"""Models with recurrent layers, stepped together over slots: what each gets alone, and what the reference writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.api import Grammar, GrammarKind, Priority, SamplingParams
from model.checkpoint.gguf import GgufFile
from model.decoder import Decoder
from model.errors import RequestError
from model.paged.runner import PagedRunner
from model.sequence import Sequence
from model.tokenizer import read_tokenizer
from tests.model.paged.models import DEVICE, reference
from tests.model.paged.test_runner import GREEDY, PROMPTS, SAMPLINGS, Loaded, Outcome, Table, alone_with, expected
from tests.model.tiny import write_tiny

NAMES = ("mamba-2", "granite-4", "qwen3-next")
ONE = SamplingParams(max_tokens=1, ignore_eos=True)
SHORT = SamplingParams(max_tokens=5, ignore_eos=True)


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder: Path = tmp_path_factory.mktemp("recurrent")
    with GgufFile(write_tiny(folder / "m.gguf")) as file:
        return reference(folder, request.param), read_tokenizer(file)


@pytest.fixture(scope="module")
def alone(loaded: Loaded) -> dict[tuple[int, int], Outcome]:
    """Every prompt with its way to sample, each in a table of its own."""
    numbers = [(number, number % len(SAMPLINGS)) for number in range(len(PROMPTS))]
    return {(n, sampling): alone_with(loaded, PROMPTS[n], SAMPLINGS[sampling]) for n, sampling in numbers}


@pytest.fixture(scope="module")
def short(loaded: Loaded) -> dict[int, Outcome]:
    return {number: alone_with(loaded, prompt, SHORT) for number, prompt in enumerate(PROMPTS)}


def greedy(decoder: Decoder, prompt: list[int], count: int) -> tuple[int, ...]:
    """By the reference, each token from the whole text: no states that could agree with ours in error."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(decoder.head(decoder(torch.tensor([ids], device=DEVICE))[0, -1]).argmax()))
    return tuple(ids[len(prompt) :])


def test_greedy_text_is_the_references(loaded: Loaded, alone: dict[tuple[int, int], Outcome]) -> None:
    for number in (0, len(SAMPLINGS)):
        tokens = expected(alone, number).tokens
        assert len(tokens) == 24
        assert tokens[:10] == greedy(loaded[0], PROMPTS[number], 10)


@pytest.mark.parametrize(
    ("steady", "pages", "slots"),
    [(True, 60, 30), (False, 60, 30), (True, 60, 4), (True, 7, 30)],
    ids=["room", "any shape", "few slots", "few pages"],
)
def test_together_as_alone(
    loaded: Loaded, alone: dict[tuple[int, int], Outcome], steady: bool, pages: int, slots: int
) -> None:
    table = Table(loaded, steady=steady, pages=pages, slots=slots)
    sequences = []
    for number, prompt in enumerate(PROMPTS):
        sequences.append(table.add(prompt, SAMPLINGS[number % len(SAMPLINGS)]))
        table.step()
    table.finish()
    for number, sequence in enumerate(sequences):
        assert table.outcome(sequence) == expected(alone, number)
    assert 1 < table.together < slots
    assert table.caches.states.free_slots + table.caches.kept_states == slots - 1
    assert table.caches.pool.free_pages + table.caches.kept_pages == pages - 1
    # What they left behind is true: the same again, from there.
    for number in (1, 3, 6):
        again = table.add(PROMPTS[number], SAMPLINGS[number])
        table.finish()
        assert table.outcome(again) == expected(alone, number)


def test_who_finds_no_slot_waits_for_one(loaded: Loaded, alone: dict[tuple[int, int], Outcome]) -> None:
    table = Table(loaded, steady=True, slots=2)
    sequences = [table.add(PROMPTS[number], GREEDY) for number in (0, 7)]
    while not sequences[0].finish_reason:
        assert table.step() == [sequences[0]]
    table.finish()
    assert table.together == 1
    assert table.outcome(sequences[0]) == expected(alone, 0)
    assert table.outcome(sequences[1]).tokens == expected(alone, 7).tokens


def test_the_interactive_class_takes_a_slot_and_gives_it_back(loaded: Loaded) -> None:
    table = Table(loaded, slots=2)
    slow = table.add(PROMPTS[1], GREEDY, Priority.BATCH)
    while len(slow.generated) < 5:
        table.step()
    quick = table.add(PROMPTS[0], SamplingParams(max_tokens=4, ignore_eos=True))
    while quick.finish_reason is None:
        assert table.step() == [quick]
    table.finish()
    assert table.outcome(slow) == alone_with(loaded, PROMPTS[1], GREEDY)


def test_a_cancelled_sequence_gives_its_slot_back_with_the_next_step(loaded: Loaded) -> None:
    table = Table(loaded, steady=True, slots=2)
    first, second = table.add(PROMPTS[3], GREEDY), table.add(PROMPTS[0], GREEDY)
    while len(first.generated) < 3:
        assert table.step() == [first]
    first.cancelled = True
    assert table.step() == [second]
    table.finish()
    assert table.outcome(second) == alone_with(loaded, PROMPTS[0], GREEDY)  # of the first nothing is left in it


ACTIONS = st.lists(
    st.one_of(st.integers(0, len(PROMPTS) - 1), st.sampled_from(["step", "step", "cancel"])), max_size=25
)


@given(actions=ACTIONS, slots=st.integers(2, 6))
@settings(max_examples=12, deadline=None)
def test_any_coming_and_going(loaded: Loaded, short: dict[int, Outcome], actions: list[int | str], slots: int) -> None:
    """Prompts arrive, steps are taken, the newest client leaves: who stays gets what it gets alone."""
    table = Table(loaded, steady=True, slots=slots)
    there: list[tuple[int, Sequence]] = []
    for action in actions:
        if isinstance(action, int):
            there.append((action, table.add(PROMPTS[action], SHORT)))
        elif action == "step":
            table.step()
        elif there and there[-1][1].finish_reason is None:
            there.pop()[1].cancelled = True
    table.finish()
    for number, sequence in there:
        assert table.outcome(sequence) == short[number]
    assert table.caches.states.free_slots + table.caches.kept_states == slots - 1


def test_a_prompt_goes_on_from_the_nearest_states(loaded: Loaded) -> None:
    table = Table(loaded, slots=30)
    prompt = PROMPTS[3]  # of eighty tokens
    first = table.add(prompt, ONE)
    table.finish()
    assert first.cached_tokens == 0
    for changed, reused in (
        (prompt, 79),
        ([*prompt, 5], 80),
        ([*prompt[:-1], 5, 6], 79),
        ([*prompt[:-5], 5, 6], 72),
        ([*prompt[:40], 5, 6], 0),
    ):
        again = table.add(changed, GREEDY)
        table.finish()
        assert again.cached_tokens == reused
        assert table.outcome(again) == alone_with(loaded, changed, GREEDY)


@pytest.mark.parametrize("steady", [False, True])
def test_of_a_prompt_that_grows_by_a_key_few_tokens_are_read(loaded: Loaded, steady: bool) -> None:
    """Two where a token more costs time; in steps of fixed shape, whose states are kept behind the last token alone, up
    to as many as such a step takes."""
    table, prompt, read = Table(loaded, steady=steady, slots=30), list(PROMPTS[3]), []
    for _ in range(11):
        sequence = table.add(prompt, SHORT)
        table.finish()
        read.append(len(prompt) - sequence.cached_tokens)
        prompt.append((sequence.generated[0] + 1) % 50)  # something else than was written
    assert read[1:] == ([2, 3, 4, 5, 6, 7, 8, 9, 2, 3] if steady else [2] * 10)
    assert table.outcome(sequence) == alone_with(loaded, prompt[:-1], SHORT)


def test_what_a_grammar_forces_takes_no_slots_on_the_way(loaded: Loaded) -> None:
    """Nobody is likely to come back there."""
    table = Table(loaded, slots=30)
    grammar = Grammar(kind=GrammarKind.REGEX, text="(ab|cd)bababa(ab|cd)babababababababa")
    sequence = table.add(PROMPTS[5], SamplingParams(max_tokens=40, grammar=grammar))
    table.finish()
    assert table.runner.steps < len(sequence.generated)
    assert table.caches.kept_states == 1  # behind all of it


def test_a_step_that_fails_leaves_no_states_behind(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had changed them already when it failed: who comes next must not start there."""
    table = Table(loaded, steady=True)
    sequence = table.add(PROMPTS[0], GREEDY)
    for _ in range(3):
        table.step()
    with monkeypatch.context() as patched:
        patched.setattr("model.paged.stage.sample", _fail)
        with pytest.raises(MemoryError):
            table.step()
    table.scheduler.remove(sequence)
    table.runner.release(sequence)
    assert table.caches.kept_states == 0
    again = table.add(PROMPTS[0] + sequence.generated, GREEDY)
    table.finish()
    assert table.outcome(again) == alone_with(loaded, PROMPTS[0] + sequence.generated, GREEDY)


def _fail(*_: object) -> torch.Tensor:
    raise MemoryError("no room")


def test_states_are_not_drafted_over(loaded: Loaded) -> None:
    table = Table(loaded, drafts=True, steady=True)
    table.runner.draft_where_rows_agree()
    table.add([7, 8, 9] * 8, GREEDY)
    table.finish()
    assert table.runner.drafted == 0
    assert isinstance(table.runner, PagedRunner)
    assert table.runner.size_bytes > 0


def test_a_sequence_that_can_never_fit_is_refused(loaded: Loaded) -> None:
    table = Table(loaded, pages=3)
    table.add([7] * 150, GREEDY)
    with pytest.raises(RequestError, match="not enough memory"):
        table.finish()
