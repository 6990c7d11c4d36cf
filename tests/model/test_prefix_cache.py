"""Prefix reuse: what is handed out is always the computed prefix of the prompt, within the budget."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.kv_cache import KvCache, KvShape
from model.prefix_cache import PrefixCache, common_prefix

SHAPE = KvShape(layers=2, kv_heads=1, head_dim=2)
BLOCKS = KvShape(layers=2, kv_heads=1, head_dim=2, block_tokens=4)
"""Keys lie transposed in blocks."""
TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def fill(cache: KvCache, tokens: list[int]) -> None:
    """Play the decoder: a token's keys hash all tokens up to it, as its true keys depend on them."""
    held = len(cache.tokens)
    news = len(tokens) - held
    cache.reserve(len(tokens))
    stamps = torch.tensor([_stamp(tokens[: position + 1]) for position in range(held, len(tokens))]).view(-1, 1, 1)
    for new, places in cache.key_places(held, news):
        for place in places:
            place.copy_(stamps[new].expand(place.shape))
    for place in cache.value_places(held, news):
        place.copy_(-stamps.expand(place.shape))
    cache.tokens += tokens[held:]


def _stamp(tokens: list[int]) -> float:
    return float(sum((token + 1) * 3.0**place for place, token in enumerate(tokens)) % 9973)


def assert_true(cache: KvCache) -> None:
    for position in range(len(cache.tokens)):
        expected = torch.full((1, 2), _stamp(cache.tokens[: position + 1]))
        block, place = divmod(position, cache.shape.block_tokens)
        for keys, values, (key_rows, value_rows) in zip(cache.keys, cache.values, cache.tables, strict=True):
            assert torch.equal(keys[:, block, :, place], expected)
            assert torch.equal(values[:, position], -expected)
            assert torch.equal(key_rows.view(keys.shape), keys)
            assert torch.equal(value_rows.view(values.shape), values)


def prefixes(budget_tokens: int = 10**6, slots: int = 4, shape: KvShape = SHAPE) -> PrefixCache:
    return PrefixCache(shape, budget_bytes=budget_tokens * SHAPE.bytes_per_token, slots=slots)


@pytest.mark.parametrize("shape", [SHAPE, BLOCKS], ids=["attention", "blocks"])
@given(steps=st.lists(st.tuples(TOKENS, st.integers(0, 12), st.booleans()), max_size=12))
def test_any_traffic_gets_true_prefixes(shape: KvShape, steps: list[tuple[list[int], int, bool]]) -> None:
    pool, busy = prefixes(shape=shape), list[KvCache]()
    for prompt, computed, keep in steps:
        cache = pool.acquire(prompt)
        assert cache.tokens == prompt[: len(cache.tokens)]
        assert len(cache.tokens) < len(prompt)
        assert_true(cache)
        fill(cache, prompt[: max(computed, len(cache.tokens))])
        if keep and len(busy) < 3:
            busy.append(cache)
        else:
            pool.release(cache)
    for cache in busy:
        assert_true(cache)
        pool.release(cache)


def served(pool: PrefixCache, prompt: list[int]) -> int:
    """Compute a prompt whole and give it back; how many tokens were reused."""
    cache = pool.acquire(prompt)
    reused = len(cache.tokens)
    fill(cache, prompt)
    pool.release(cache)
    return reused


def test_a_growing_prompt_reuses_all_of_the_last_one() -> None:
    pool = prefixes()
    assert [served(pool, [1] * length) for length in (5, 6, 9)] == [0, 5, 6]


def test_the_last_token_is_always_left_to_compute() -> None:
    pool = prefixes()
    assert [served(pool, [1, 2, 3]), served(pool, [1, 2, 3]), served(pool, [1])] == [0, 2, 0]


def test_two_documents_that_alternate_keep_their_own_slots() -> None:
    pool = prefixes()
    shared, first, second = [9] * 4, [1] * 150, [2] * 150
    reused = [served(pool, shared + tail) for tail in (first, second, [*first, 1], [*second, 2])]
    assert reused == [0, 4, 154, 154]


def test_a_short_tail_is_given_up_rather_than_copied() -> None:
    pool = prefixes()
    served(pool, [1] * 5 + [2] * 50)
    before = pool.size_bytes
    assert served(pool, [1] * 5 + [3] * 50) == 5
    assert pool.size_bytes == before


def test_a_slot_in_use_is_copied_from_not_taken() -> None:
    pool = prefixes()
    first = pool.acquire([1, 2, 3, 4])
    fill(first, [1, 2, 3])
    second = pool.acquire([1, 2, 3, 4])
    assert second is not first
    assert second.tokens == [1, 2, 3]
    fill(second, [1, 2, 3, 4])
    assert first.tokens == [1, 2, 3]
    assert_true(first)


def test_the_least_recently_used_goes_first() -> None:
    pool = prefixes(slots=2)
    documents = [[0] * 9, [1] * 9, [2] * 9]
    for document in documents:
        served(pool, document)
    assert [served(pool, document) for document in (documents[2], documents[1])] == [8, 8]
    assert served(pool, documents[0]) == 0


def test_memory_stays_within_the_budget() -> None:
    pool = prefixes(budget_tokens=1200)
    for token in range(5):
        served(pool, [token] * 9)
        assert pool.size_bytes <= 1200 * SHAPE.bytes_per_token


@pytest.mark.parametrize("shape", [SHAPE, BLOCKS], ids=["attention", "blocks"])
def test_growth_keeps_what_was_computed(shape: KvShape) -> None:
    cache = KvCache(shape)
    fill(cache, [1] * 250)
    fill(cache, [1] * 601)
    assert cache.capacity_tokens >= 600
    assert cache.size_bytes == cache.capacity_tokens * SHAPE.bytes_per_token
    cache.truncate(3)
    assert len(cache.tokens) == 3
    assert_true(cache)


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [([], [1], 0), ([1], [2], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 2, 4], 2), ([1, 2, 3], [1, 2, 3], 3)],
)
def test_common_prefix_examples(first: list[int], second: list[int], length: int) -> None:
    assert common_prefix(first, second) == common_prefix(second, first) == length


@given(first=TOKENS, second=TOKENS)
def test_common_prefix_equals_counting(first: list[int], second: list[int]) -> None:
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    assert common_prefix(first, second) == length
