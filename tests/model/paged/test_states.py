"""Slots of recurrent states and the tree over them, against a set of every beginning that states were kept behind."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model.errors import ModelTooLargeError
from model.kv_cache import KvShape, StateShape
from model.memory import resident_bytes
from model.paged.cache import PagedCache, PagedCaches
from model.paged.pool import PAGE_TOKENS, PagePool, pages_within
from model.paged.serve import lay_out
from model.paged.snapshots import marks
from model.paged.states import SCRATCH_SLOT, StatePool, slot_bytes, slots_within
from model.paged.tree import Node
from tests.model.paged.models import reference
from tests.model.paged.test_cache import RUNS, SHAPE, assert_true, compute, stamps, text

CPU = torch.device("cpu")
HYBRID = KvShape(layers=2, kv_heads=1, head_dim=2, states=(StateShape((3, 5), (2, 4)),) * 3)


def make(pages: int = 200, slots: int = 400) -> PagedCaches:
    return PagedCaches(PagePool(HYBRID, pages=pages, device=CPU), StatePool(HYBRID, slots=slots, device=CPU))


def write(caches: PagedCaches, slot: int, stamp: float) -> None:
    for layer in range(caches.states.layers):
        caches.states.windows[layer][slot] = stamp + layer
        caches.states.states[layer][slot] = -stamp - layer


def assert_state(caches: PagedCaches, slot: int, tokens: list[int]) -> None:
    """The slot holds what computing these tokens leaves."""
    stamp = stamps(tokens)[-1] if tokens else None
    for layer in range(caches.states.layers):
        wanted = 0.0 if stamp is None else stamp + layer
        assert (caches.states.windows[layer][slot] == wanted).all()
        assert (caches.states.states[layer][slot] == -wanted).all()


def advance(caches: PagedCaches, cache: PagedCache, tokens: list[int], keep: list[int]) -> bool:
    """Play a step: keys and values, and states behind the last token and at the lengths to keep."""
    if not caches.reserve(cache, len(tokens)):
        return False
    caches.begin(cache, [length for length in keep if len(cache.tokens) < length < len(tokens)])
    for length, slot in cache.coming.items():
        write(caches, slot, stamps(tokens[:length])[-1])
    assert compute(caches, cache, tokens)
    if tokens:
        write(caches, cache.slot, stamps(tokens)[-1])
    caches.settle(cache)
    return True


def text_of(node: Node) -> list[int]:
    """All tokens up to a page's last."""
    return [] if node.parent is None else text_of(node.parent) + node.key


class Traffic(RuleBasedStateMachine):
    """Sequences come, compute a part, keep states on the way, share, fail in the middle of a step, and end, in any
    order; pages and slots are many or few."""

    pages, slots = 200, 400

    def __init__(self) -> None:
        super().__init__()
        self.caches = make(self.pages, self.slots)
        self.running: list[tuple[PagedCache, list[int]]] = []
        self.known: set[tuple[int, ...]] = {()}

    @precondition(lambda self: len(self.running) < 3)
    @rule(runs=RUNS)
    def arrive(self, runs: list[tuple[int, int]]) -> None:
        assert self.caches.admits == (len(self.running) < self.slots - 1)
        if not self.caches.admits:
            return
        prompt = text(runs)
        longest = max(size for size in range(len(prompt)) if tuple(prompt[:size]) in self.known)
        cache = self.caches.acquire(prompt)
        assert cache.tokens == prompt[: len(cache.tokens)]
        self.assert_reused(len(cache.tokens), longest)
        self.running.append((cache, prompt))

    def assert_reused(self, found: int, longest: int) -> None:
        assert found == longest

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 2), share=st.floats(0, 1), keep=st.lists(st.integers(1, 200), max_size=3, unique=True))
    def step(self, which: int, share: float, keep: list[int]) -> None:
        cache, prompt = self.running[which % len(self.running)]
        until = max(len(cache.tokens), round(share * len(prompt)))
        if advance(self.caches, cache, prompt[:until], keep):
            lengths = list(cache.states)
            self.caches.publish(cache)
            whole = len(cache.shared) * PAGE_TOKENS
            self.known |= {tuple(cache.tokens[:length]) for length in lengths if length <= whole}

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 2), fails=st.booleans())
    def leave(self, which: int, fails: bool) -> None:
        cache, _ = self.running.pop(which % len(self.running))
        self.known |= {tuple(cache.tokens[:length]) for length in cache.states}
        if fails:  # a step changes the states and never comes to its end
            self.caches.begin(cache, [len(cache.tokens) + 1])
            for slot in (cache.slot, *cache.coming.values()):
                write(self.caches, slot, 0.5)
        else:
            self.known.add(tuple(cache.tokens))
        self.caches.release(cache)
        assert not cache.states
        assert cache.slot == SCRATCH_SLOT

    @invariant()
    def what_is_held_is_true(self) -> None:
        for cache, _ in self.running:
            assert_true(self.caches, cache)
            assert_state(self.caches, cache.slot, cache.tokens)
            for length, slot in cache.states.items():
                assert_state(self.caches, slot, cache.tokens[:length])
        for node in self.caches._tree.nodes():
            whole = text_of(node)
            for kept, slot in node.states.items():
                assert 0 < kept <= len(node.key)
                assert_state(self.caches, slot, whole[: len(whole) - len(node.key) + kept])

    @invariant()
    def no_slot_is_lost_or_had_twice(self) -> None:
        kept = [slot for node in self.caches._tree.nodes() for slot in node.states.values()]
        for cache, _ in self.running:
            kept += cache.states.values()
        assert len(kept) == self.caches.kept_states
        had = [*kept, *(cache.slot for cache, _ in self.running)]
        assert len(set(had)) == len(had)
        assert SCRATCH_SLOT not in had
        assert len(had) + self.caches.states.free_slots == self.slots - 1


class CrowdedTraffic(Traffic):
    """So few slots that states are taken from each other, and a third sequence must wait."""

    pages, slots = 9, 3

    def assert_reused(self, found: int, longest: int) -> None:
        assert found <= longest


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestCrowdedTraffic = CrowdedTraffic.TestCase
TestCrowdedTraffic.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def served(caches: PagedCaches, tokens: list[int], keep: list[int]) -> int:
    """Compute a prompt whole and give it back; how many tokens were reused."""
    cache = caches.acquire(tokens)
    reused = len(cache.tokens)
    assert advance(caches, cache, tokens, keep)
    caches.release(cache)
    return reused


def test_a_prompt_starts_from_the_nearest_states_at_or_before_what_it_shares() -> None:
    caches = make()
    assert served(caches, [1] * 150, [30, 128]) == 0
    assert served(caches, [1] * 150 + [2], []) == 150
    assert served(caches, [1] * 150, []) == 128
    assert served(caches, [1] * 100, []) == 30
    assert served(caches, [1] * 20 + [2] * 9, []) == 0


def test_states_are_found_beside_the_page_that_goes_on_the_furthest() -> None:
    caches = make()
    served(caches, [1, 1, 2, 3], [2])
    served(caches, [1, 1, 2, 4, 5, 6], [])
    cache = caches.acquire([1, 1, 2, 4, 5, 7])  # shares five with the second, whose states are behind the sixth
    assert cache.tokens == [1, 1]
    assert_state(caches, cache.slot, [1, 1])


def test_a_text_that_grows_keeps_the_states_of_the_page_that_it_replaces() -> None:
    caches = make()
    served(caches, [1] * 20, [5])
    served(caches, [1] * 30, [])
    assert caches.kept_pages == 1
    assert served(caches, [1] * 9 + [2], []) == 5


def test_a_new_sequence_remembers_nothing_of_who_had_its_slot() -> None:
    caches = make(slots=2)
    first = caches.acquire([1] * 9)
    advance(caches, first, [1] * 9, [])
    admitted = [caches.admits]
    caches.release(first)
    assert [*admitted, caches.admits] == [False, True]
    assert_state(caches, caches.acquire([2] * 9).slot, [])


def test_the_only_slot_is_moved_where_it_cannot_be_copied() -> None:
    caches = make(slots=2)
    served(caches, [1] * 9, [])
    cache = caches.acquire([1] * 12)
    assert len(cache.tokens) == 9
    assert_state(caches, cache.slot, [1] * 9)
    assert caches.kept_states == 0


def test_what_was_used_longest_ago_goes_first() -> None:
    caches = make(slots=4)
    for token in (0, 1, 2):
        served(caches, [token] * 9, [])
    assert served(caches, [0] * 10, []) == 9  # its states move to the newest place
    assert len(caches.acquire([1] * 10).tokens) == 0
    assert len(caches.acquire([0] * 11).tokens) == 10


def test_pages_that_go_take_their_states_with_them() -> None:
    caches = make(pages=3)
    served(caches, [1] * 60, [20])
    served(caches, [2] * 60, [])
    served(caches, [3] * 60, [])
    assert caches.kept_states == 2
    assert served(caches, [1] * 60, []) == 0


def test_without_a_page_for_its_tail_nothing_is_reused() -> None:
    """States at a length whose keys are not all there would be of no use."""
    caches = make(pages=4)
    served(caches, [1] * 70, [])
    other = caches.acquire([2] * 9)
    assert advance(caches, other, [2] * 9, [])
    cache = caches.acquire([1] * 71)
    assert cache.tokens == []
    assert_state(caches, cache.slot, [])


@pytest.mark.parametrize(
    ("start", "stop", "end", "expected"),
    [
        (0, 100, 100, [92, 99]),
        (95, 100, 100, [99]),
        (99, 100, 100, []),
        (0, 512, 1024, [512]),
        (512, 1024, 2048, []),
        (1024, 1536, 2048, [1536]),
        (0, 512, 513, [512]),
    ],
)
def test_where_states_are_kept(start: int, stop: int, end: int, expected: list[int]) -> None:
    assert marks(start, stop, end=end) == expected


def test_of_a_long_prompt_few_states_are_kept_and_more_towards_its_end() -> None:
    end = 16_000
    kept = [mark for start in range(0, end, 512) for mark in marks(start, min(start + 512, end), end=end)]
    assert len(kept) <= 8
    assert kept[0] < end * 3 // 4
    assert kept[-2:] == [15_992, 15_999]
    assert all(end - earlier <= 4 * max(end - later, 512) for earlier, later in pairwise(kept))


def test_slots_that_take_all_room_leave_pages_that_take_none() -> None:
    alone = KvShape(layers=0, kv_heads=0, head_dim=0, states=HYBRID.states)
    room_bytes = 5 * slot_bytes(alone)
    left_bytes = room_bytes - slots_within(alone, room_bytes) * slot_bytes(alone)
    assert left_bytes == 0
    assert pages_within(alone, left_bytes, most_tokens=1000) == 17
    assert PagePool(alone, pages=17, device=CPU).page_bytes == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_nobody_wrote_takes_no_memory(dtype: torch.dtype) -> None:
    """Of a pool of 256 MB, and of one of pages."""
    large = KvShape(layers=1, kv_heads=1, head_dim=2**17, states=(StateShape((3, 16), (2**20,)),), dtype=dtype)
    before_bytes = resident_bytes()
    states, pages = StatePool(large, slots=64, device=CPU), PagePool(large, pages=9, device=CPU)
    states.clear(5)
    assert resident_bytes() - before_bytes < 64 << 20
    assert not states.states[0][63].any()
    assert not pages.keys[0][-1].any()
    assert (states.windows[0].dtype, pages.keys[0].dtype) == (dtype, dtype)


def test_on_a_cpu_one_sequence_always_finds_a_slot(tmp_path: Path) -> None:
    """A large model's states may be more than the share of the memory that caches have."""
    decoder, _ = lay_out(reference(tmp_path, "mamba-2").cpu(), context_tokens=256, cache_bytes=1)
    assert decoder.states.slots == 2
    assert decoder.pool.free_pages > 0


def test_slots_share_the_room_with_pages() -> None:
    each = slot_bytes(HYBRID)
    assert each == 3 * 4 * (3 * 5 + 2 * 4)
    alone = KvShape(layers=0, kv_heads=0, head_dim=0, states=HYBRID.states)
    assert slots_within(HYBRID, 8 * each) == 4
    assert [slots_within(HYBRID, count * each) for count in (1, 2, 3)] == [1, 2, 2]  # one and the scratch slot
    assert slots_within(alone, 8 * each) == 8
    assert slots_within(alone, 10**9) == 33
    assert slots_within(SHAPE, 10**9) == 1
    half = KvShape(layers=0, kv_heads=0, head_dim=0, states=HYBRID.states, dtype=torch.bfloat16)
    assert StatePool(half, slots=2, device=CPU).states[0].dtype is torch.float32
    assert slot_bytes(half) == 3 * (2 * 3 * 5 + 4 * 2 * 4)
    with pytest.raises(ModelTooLargeError, match="recurrent states of even one") as caught:
        StatePool(HYBRID, slots=1, device=CPU)
    assert caught.value.hint
