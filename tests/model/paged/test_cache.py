"""Pages and the tree over them, against a set of every beginning that was ever computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model.errors import ModelTooLargeError
from model.kv_cache import KvShape
from model.paged.cache import PagedCache, PagedCaches
from model.paged.pool import PAGE_TOKENS, PagePool, pages_for, pages_within
from model.paged.states import StatePool

SHAPE = KvShape(layers=2, kv_heads=1, head_dim=2, index_layers=1, index_dim=3)
RUNS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 90)), min_size=1, max_size=4)
"""Texts as runs of one of two tokens: long enough for pages, alike often enough to share them."""


def text(runs: list[tuple[int, int]]) -> list[int]:
    return [token for token, count in runs for _ in range(count)]


def make(pages: int = 200) -> PagedCaches:
    pool = PagePool(SHAPE, pages=pages, device=torch.device("cpu"))
    return PagedCaches(pool, StatePool(SHAPE, slots=1, device=torch.device("cpu")))


def stamps(tokens: list[int]) -> list[float]:
    """What plays a token's keys: it depends on all tokens up to it, as true keys do."""
    found, state = [], 17
    for token in tokens:
        state = (state * 31 + token + 1) % 9973
        found.append(float(state))
    return found


def compute(caches: PagedCaches, cache: PagedCache, tokens: list[int]) -> bool:
    """Play the decoder: write what is missing of `tokens`. False where there is no room."""
    if not caches.reserve(cache, len(tokens)):
        return False
    held = len(cache.tokens)
    places = _places(cache)[held : len(tokens)]
    written = torch.tensor(stamps(tokens)[held:], dtype=torch.float32)[:, None, None]
    for layer in range(SHAPE.layers):
        caches.pool.keys[layer][places] = written + layer
        caches.pool.values[layer][places] = -written - layer
    for index_keys in caches.pool.index_keys:  # of which recurrent models have none
        index_keys[places] = 2 * written[:, 0]
    cache.tokens += tokens[held:]
    return True


def assert_true(caches: PagedCaches, cache: PagedCache) -> None:
    """The cache holds what computing its tokens would have written."""
    places = _places(cache)
    expected = torch.tensor(stamps(cache.tokens), dtype=torch.float32)
    for layer in range(SHAPE.layers):
        for sign, held in ((1, caches.pool.keys[layer]), (-1, caches.pool.values[layer])):
            assert torch.equal(held[places[: len(expected)], 0, 0], sign * (expected + layer))
    for index_keys in caches.pool.index_keys:
        assert torch.equal(index_keys[places[: len(expected)], 1], 2 * expected)


def _places(cache: PagedCache) -> torch.Tensor:
    pages = torch.tensor(cache.pages, dtype=torch.int64)
    return (pages[:, None] * PAGE_TOKENS + torch.arange(PAGE_TOKENS)).flatten()


def served(caches: PagedCaches, tokens: list[int]) -> int:
    """Compute a prompt whole and give it back; how many tokens were reused."""
    cache = caches.acquire(tokens)
    reused = len(cache.tokens)
    assert compute(caches, cache, tokens)
    caches.release(cache)
    return reused


class Traffic(RuleBasedStateMachine):
    """Sequences come, compute a part, share it, are cut back, and end, in any order; the pool is small or large."""

    pages = 200

    def __init__(self) -> None:
        super().__init__()
        self.caches = make(self.pages)
        self.running: list[tuple[PagedCache, list[int]]] = []
        self.known: set[tuple[int, ...]] = {()}

    @precondition(lambda self: len(self.running) < 3)
    @rule(runs=RUNS)
    def arrive(self, runs: list[tuple[int, int]]) -> None:
        prompt = text(runs)
        longest = max(size for size in range(len(prompt)) if tuple(prompt[:size]) in self.known)
        cache = self.caches.acquire(prompt)
        assert cache.tokens == prompt[: len(cache.tokens)]
        self.assert_reused(len(cache.tokens), longest)
        self.running.append((cache, prompt))

    def assert_reused(self, found: int, longest: int) -> None:
        assert found == longest

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 2), share=st.floats(0, 1), publish=st.booleans())
    def step(self, which: int, share: float, publish: bool) -> None:
        cache, prompt = self.running[which % len(self.running)]
        until = max(len(cache.tokens), round(share * len(prompt)))
        if compute(self.caches, cache, prompt[:until]) and publish:
            self.caches.publish(cache)
            self.learn(cache, len(cache.shared) * PAGE_TOKENS)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 2), share=st.floats(0, 1))
    def cut(self, which: int, share: float) -> None:
        cache, _ = self.running[which % len(self.running)]
        cache.truncate(max(len(cache.shared) * PAGE_TOKENS, round(share * len(cache.tokens))))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 2))
    def leave(self, which: int) -> None:
        cache, _ = self.running.pop(which % len(self.running))
        self.learn(cache, len(cache.tokens))
        self.caches.release(cache)

    def learn(self, cache: PagedCache, tokens: int) -> None:
        self.known |= {tuple(cache.tokens[:size]) for size in range(tokens + 1)}

    @invariant()
    def what_is_held_is_true(self) -> None:
        for cache, _ in self.running:
            assert_true(self.caches, cache)

    @invariant()
    def no_page_is_lost_or_had_twice(self) -> None:
        tree = {node.page for node in self.caches._tree.nodes()}
        own = [page for cache, _ in self.running for page in cache.pages[len(cache.shared) :]]
        assert len(tree) == self.caches.kept_pages
        assert len({*tree, *own}) == len(tree) + len(own)
        assert len(tree) + len(own) + self.caches.pool.free_pages == self.pages - 1


class CrowdedTraffic(Traffic):
    """So few pages that they are taken from each other: reuse is what is left, never more than was known."""

    pages = 9

    def assert_reused(self, found: int, longest: int) -> None:
        assert found <= longest


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestCrowdedTraffic = CrowdedTraffic.TestCase
TestCrowdedTraffic.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@given(runs=RUNS)
@settings(max_examples=20, deadline=None)
def test_a_prompt_that_is_known_leaves_one_token_to_compute(runs: list[tuple[int, int]]) -> None:
    caches, prompt = make(), text(runs)
    served(caches, prompt)
    assert served(caches, prompt) == len(prompt) - 1


def test_a_text_that_grows_key_by_key_is_kept_once() -> None:
    caches = make()
    for length in range(100, 140):
        assert served(caches, [1] * length) == (0 if length == 100 else length - 1)
    assert caches.kept_pages == pages_for(139)


def test_two_texts_share_the_pages_that_they_begin_with() -> None:
    caches = make()
    first, second = caches.acquire([1] * 150), caches.acquire([1] * 150)
    compute(caches, first, [1] * 150)
    caches.publish(first)
    compute(caches, second, [1] * 150)
    caches.publish(second)
    assert first.pages[:2] == second.pages[:2]
    assert first.pages[2] != second.pages[2]
    third = caches.acquire([1] * 140 + [0])
    assert third.pages[:2] == first.pages[:2]
    assert len(third.tokens) == 128  # what no ended sequence left and is not a full page is not shared


def test_a_tail_is_copied_before_it_is_written() -> None:
    caches = make()
    served(caches, [1] * 80)
    first, second = caches.acquire([1] * 80 + [0]), caches.acquire([1] * 80 + [2])
    assert len(first.tokens) == len(second.tokens) == 80
    compute(caches, first, [1] * 80 + [0])
    compute(caches, second, [1] * 80 + [2])
    for cache in (first, second):
        assert_true(caches, cache)


def test_what_was_used_longest_ago_goes_first() -> None:
    caches = make(pages=4)  # three of them to be had
    for token in (0, 1, 2):
        served(caches, [token] * 60)
    assert served(caches, [0] * 60) == 59
    served(caches, [3] * 60)
    assert len(caches.acquire([1] * 60).tokens) == 0
    assert len(caches.acquire([0] * 60).tokens) == 59


def test_pages_in_use_are_not_taken() -> None:
    caches = make(pages=3)
    cache = caches.acquire([1] * 100)
    assert compute(caches, cache, [1] * 100)
    other = caches.acquire([2] * 100)
    assert not caches.reserve(other, 1)
    assert other.pages == []
    assert_true(caches, cache)
    caches.release(cache)
    assert caches.reserve(other, 100)


def test_a_cancelled_sequence_leaves_what_it_computed() -> None:
    caches = make()
    cache = caches.acquire([1] * 300)
    compute(caches, cache, [1] * 70)
    caches.reserve(cache, 300)
    caches.release(cache)
    assert caches.kept_pages == 2
    assert len(caches.acquire([1] * 300).tokens) == 70


def test_memory_is_the_room_there_is_but_no_more_than_is_of_use() -> None:
    each = PAGE_TOKENS * SHAPE.bytes_per_token
    assert pages_within(SHAPE, 10 * each + 5, most_tokens=10_000) == 10
    assert pages_within(SHAPE, 10 * each, most_tokens=65) == 3
    with pytest.raises(ModelTooLargeError, match="no memory left") as caught:
        PagePool(SHAPE, pages=1, device=torch.device("cpu"))
    assert caught.value.hint
