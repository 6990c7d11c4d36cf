"""Layers that choose what is seen, stepped together over pages: the choices, logits and texts of the modules alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.api import SamplingParams
from model.checkpoint.gguf import GgufFile
from model.config import IndexConfig, NormConfig
from model.decoder import Decoder
from model.experts.few import has_triton
from model.layers import indexed
from model.layers.indexed import Indexer
from model.paged import indexing
from model.paged.attention import Held, Look
from model.paged.indexing import Asked, RaggedChoice, Seen, SteadyChoice, attend_to, tokens_of
from model.paged.pool import PAGE_TOKENS
from model.paged.sampling import Kind, Sampling, kind_of, sample, seed_of
from model.paged.spans import Spans, Steps
from model.paged.stage import Stage, Work
from model.sampler import Sampler
from model.tokenizer import read_tokenizer
from tests.model.paged.models import DEVICE, paged, reference, run_ragged
from tests.model.paged.test_runner import GREEDY, SAMPLINGS, Loaded, Table, alone_with
from tests.model.tiny import write_tiny

NAMES = ("mistral-large-4", "mistral-large-4-shared")
"""Layers that all choose and remember; and such that see what an earlier one chose, or attend to what one remembers."""
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6] * 9
GENERATOR = torch.Generator().manual_seed(4)
PROMPTS = [torch.randint(3, 100, (count,), generator=GENERATOR).tolist() for count in (8, 70, 40, 80, 1, 90, 3, 36)]
PROMPTS += [[*PROMPTS[3], 5], [*PROMPTS[5][:64], 6, 7]]
"""At random: what repeats scores almost alike, so that rounding decides what is seen."""
WAYS = [GREEDY, *SAMPLINGS[1:3], SamplingParams(max_tokens=11, temperature=0.9, seed=1, logprobs=1, ignore_eos=True)]

INDEX = IndexConfig(chosen=8, heads=2, dim=4, norm=NormConfig(epsilon=1e-6, kind="layer"))
LENGTHS, PAGES, PLACES = (150, 5, 70), ((4, 2, 7), (5,), (1, 6)), 8 * PAGE_TOKENS


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder: Path = tmp_path_factory.mktemp("indexing")
    with GgufFile(write_tiny(folder / "m.gguf")) as file:
        return reference(folder, request.param), read_tokenizer(file)


@given(rows=st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=4), count=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_the_tokens_of_a_row_come_in_order(rows: list[list[bool]], count: int) -> None:
    tokens, there = tokens_of(torch.tensor(rows), count)
    assert tokens.shape == there.shape == (len(rows), count)
    for row, found, held in zip(rows, tokens.tolist(), there.tolist(), strict=True):
        assert [place for place, real in zip(found, held, strict=True) if real] == [
            place for place, seen in enumerate(row) if seen
        ][:count]
        assert all(0 <= place < 9 for place in found)  # what is not there is read too


def _asked(queries: tuple[int, ...]) -> tuple[Asked, Tensor]:
    """Small whole numbers, so that many tokens score alike; and the index keys of all places."""
    generator, rows = torch.Generator().manual_seed(8), sum(queries)
    query = torch.randint(-1, 2, (1, INDEX.heads, rows, INDEX.dim), generator=generator).float()
    weights = torch.randint(-1, 3, (1, rows, INDEX.heads), generator=generator).float()
    keys = torch.randint(-1, 2, (PLACES, INDEX.dim), generator=generator).float()
    return Asked(query.to(DEVICE), weights.to(DEVICE)), keys.to(DEVICE)


def _by_loop(asked: Asked, keys: Tensor, queries: tuple[int, ...]) -> list[list[int]]:
    """The places that each row sees, by scoring and sorting what its sequence holds up to it."""
    held, row, found = keys.tolist(), 0, []
    for count, length, pages in zip(queries, LENGTHS, PAGES, strict=True):
        for position in range(length - count, length):
            places = [pages[at // PAGE_TOKENS] * PAGE_TOKENS + at % PAGE_TOKENS for at in range(position + 1)]
            heads = list(zip(asked.weights[0, row].tolist(), asked.queries[0, :, row].tolist(), strict=True))
            scores = [
                sum(share * max(0.0, sum(a * b for a, b in zip(head, key, strict=True))) for share, head in heads)
                for key in (held[place] for place in places)
            ]
            best = sorted(range(position + 1), key=lambda at, scores=scores: (-scores[at], at))[: INDEX.chosen]  # type: ignore[misc]
            found.append([places[at] for at in sorted(best)])
            row += 1
    return found


def _listed(seen: Seen) -> list[list[int]]:
    return [places[there].tolist() for places, there in zip(*seen, strict=True)]


@pytest.mark.parametrize("kernel", [False, True], ids=["plain", "kernel"])
@pytest.mark.parametrize("scores", [1 << 24, 700], ids=["whole", "in parts"])
def test_the_earliest_of_equals_are_chosen_over_pages(
    scores: int, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sequences with more tokens than are seen and with fewer, pages out of order, in both forms of a step."""
    monkeypatch.setattr(indexed, "_MOST_SCORES", scores)
    monkeypatch.setattr(indexing, "_MOST_MARKS", scores)
    monkeypatch.setattr(indexing, "has_kernel", lambda _: kernel and has_triton())
    indexer = Indexer(16, INDEX)
    queries = (40, 2, 3)
    asked, keys = _asked(queries)
    ragged = RaggedChoice(Spans(queries, LENGTHS, PAGES, DEVICE))
    assert _listed(ragged(indexer, asked, keys)) == _by_loop(asked, keys, queries)
    even = (3, 3, 3)
    asked, keys = _asked((*even, 3))  # one sequence to spare
    steps = Steps(4, 3, most_tokens=250, device=DEVICE)
    steps.fill([[7] * 3] * 3, LENGTHS, PAGES)
    steps.begin()
    found = _listed(SteadyChoice(steps)(indexer, asked, keys))
    assert found[:9] == _by_loop(asked, keys, even)
    assert [len(row) for row in found[9:]] == [1, 2, 3]


def test_there_is_no_choice_where_all_are_seen() -> None:
    ragged = RaggedChoice(Spans((1, 2, 3), LENGTHS, PAGES, DEVICE))
    assert [ragged.sees_all(chosen) for chosen in (149, 150)] == [False, True]
    steady = SteadyChoice(Steps(1, 1, most_tokens=100, device=DEVICE))
    assert [steady.sees_all(chosen) for chosen in (127, 128)] == [False, True]  # the room, whatever is held


@pytest.mark.parametrize("numbers", [1 << 25, 500], ids=["whole", "in parts"])
def test_what_is_not_seen_counts_for_nothing(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the softmax of a loop."""
    monkeypatch.setattr(indexing, "_MOST_NUMBERS", numbers)
    generator = torch.Generator().manual_seed(9)
    store = torch.randn(PLACES, 1, 12, generator=generator).to(DEVICE)
    query = torch.randn(5, 3, 10, generator=generator).to(DEVICE)
    places = torch.randint(0, PLACES, (5, 6), generator=generator).to(DEVICE)
    counts = torch.tensor([6, 1, 3, 5, 2], device=DEVICE)
    seen = Seen(places, torch.arange(6, device=DEVICE) < counts[:, None])
    keys, values = store[..., :10], store[..., :7]
    found = attend_to(seen, query, Held(keys, values, keys, values), Look(scale=0.3))
    for row, count in enumerate(counts.tolist()):
        mine = places[row, :count]
        shares = torch.softmax(query[row] @ keys[mine, 0].T * 0.3, -1)
        torch.testing.assert_close(found[row], shares @ values[mine, 0])


@pytest.mark.parametrize(("count", "kernel"), [(1, False), (3, False), (8, False), (3, True)])
def test_a_step_of_any_shape_gives_the_modules_logits(
    count: int, kernel: bool, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several lengths, behind one another's pages, some with fewer new tokens than there is room for."""
    monkeypatch.setattr(indexing, "has_kernel", lambda _: kernel and has_triton())
    decoder, _ = loaded
    made, caches = paged(decoder)
    stage = Stage(made, most_tokens=256, capture=False)
    texts = [PROMPT[:5], [7, *PROMPT], PROMPT[:31], PROMPT, [5] * 3, PROMPT[:64], [9, 8] * 40, PROMPT[1:]][:count]
    news = [[2, 9, 2, 9, 2, 9, 2, 8], [4], [1, 2, 3, 4, 5], [7, 8, 9], [6, 7], [3], [1], [2, 3]]
    held = [caches.acquire(text) for text in texts]
    for cache, text in zip(held, texts, strict=True):
        for start in range(0, len(text), 30):  # pages are taken in turns
            run_ragged(made, caches, [(cache, text[start : start + 30])])
    for cache, text in zip(held, texts, strict=True):
        assert caches.reserve(cache, len(text) + 8)
    works = [
        Work(new, len(text) + len(new), cache.pages, SamplingParams(), 0)
        for cache, text, new in zip(held, texts, news, strict=False)
    ]
    found = stage.run(works, Kind.GREEDY)
    for row, (text, new) in enumerate(zip(texts, news, strict=False)):
        with torch.no_grad():
            wanted = decoder.head(decoder(torch.tensor([text + new], device=DEVICE))[0, -len(new) :])
        atol = 1e-4 * float(wanted.abs().max())
        torch.testing.assert_close(found.logits[row, : len(new)], wanted, rtol=0, atol=atol)
        assert found.tokens[row][: len(new)] == wanted.argmax(-1).tolist()


def by_modules(decoder: Decoder, prompt: list[int], params: SamplingParams) -> tuple[int, ...]:
    """Token by token, each from the whole text: no cache that could agree with ours in error."""
    ids, sampler = list(prompt), Sampler(params)
    sampling = Sampling(1, device=DEVICE)
    sampling.fill([params], [seed_of(params)])
    for _ in range(params.max_tokens):
        with torch.no_grad():
            logits = decoder.head(decoder(torch.tensor([ids], device=DEVICE))[0, -1:]).float()
        if params.logprobs is not None:
            ids.append(sampler.choose(logits[0].cpu()).token_id)
            continue
        position = torch.tensor([len(ids) - 1], device=DEVICE)
        ids.append(int(sample(logits, sampling, position, kind_of(params))))
    return tuple(ids[len(prompt) :])


@pytest.fixture(scope="module")
def texts(loaded: Loaded) -> list[tuple[int, ...]]:
    """Every prompt with a way to sample, by the modules."""
    return [by_modules(loaded[0], prompt, WAYS[number % len(WAYS)]) for number, prompt in enumerate(PROMPTS)]


@pytest.mark.parametrize(
    ("steady", "pages"), [(True, 60), (False, 60), (True, 7)], ids=["fixed shapes", "any shape", "crowded"]
)
def test_together_they_write_what_the_modules_do(
    loaded: Loaded, texts: list[tuple[int, ...]], steady: bool, pages: int
) -> None:
    table = Table(loaded, steady=steady, pages=pages)
    sequences = []
    for number, prompt in enumerate(PROMPTS):
        sequences.append(table.add(prompt, WAYS[number % len(WAYS)]))
        table.step()
    table.finish()
    assert [tuple(sequence.generated) for sequence in sequences] == texts
    assert table.together > 1
    # What they left behind is true: the same again, from there.
    for number in (1, 3, 7):
        again = table.add(PROMPTS[number], WAYS[number % len(WAYS)])
        table.finish()
        assert tuple(again.generated) == texts[number]
        assert pages == 7 or again.cached_tokens == len(PROMPTS[number]) - 1


@pytest.mark.parametrize("steady", [False, True])
def test_one_that_goes_on_from_anothers_page_leaves_it_as_it_was(loaded: Loaded, steady: bool) -> None:
    """A page that is not full is copied, index keys included; who came first, cancelled or not, is served on."""
    table, prompt = Table(loaded, steady=steady), PROMPTS[3]  # of eighty tokens
    first = table.add(prompt, GREEDY)
    while len(first.generated) < 4:
        table.step()
    first.cancelled = True
    table.step()
    for changed, reused in (([*prompt, 5], 80), ([*prompt[:70], 9, 9, 9], 70), (prompt, 79)):
        other = table.add(changed, GREEDY)
        table.finish()
        assert other.cached_tokens == reused
        assert tuple(other.generated) == by_modules(loaded[0], changed, GREEDY)


def test_drafts_change_no_token(loaded: Loaded) -> None:
    """Index keys of what was drafted wrong are written over."""
    table = Table(loaded, steady=True, drafts=True)
    for prompt in ([33, 34] * 20, [8, 16] * 45):
        sequence = table.add(prompt, GREEDY)
        table.finish()
        assert sequence.generated == list(alone_with(loaded, prompt, GREEDY).tokens)
    assert table.runner.drafted > 0


def test_memory_counts_latents_and_index_keys_of_the_layers_that_have_them(tmp_path: Path) -> None:
    made, caches = paged(reference(tmp_path, NAMES[1]), pages=9)
    assert made.kv_shape.bytes_per_token == 4 * (3 * (32 + 8) + 3 * 16)  # of six layers
    held = [*caches.pool.keys, *caches.pool.index_keys]
    assert sum(one.numel() * one.itemsize for one in held) == 9 * caches.pool.page_bytes
