"""What the leading process tells is all that the others need: who only obeys remembers the same, bit for bit."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.checkpoint.gguf import GgufFile
from model.paged.cache import PagedCaches
from model.paged.decoder import PagedDecoder
from model.paged.gathered import GatheredAttention
from model.paged.pool import PAGE_TOKENS, SCRATCH_PAGE
from model.paged.runner import PagedRunner
from model.paged.serve import lay_out
from model.paged.stage import Stage
from model.paged.states import SCRATCH_SLOT
from model.parallel.follower import obey
from model.parallel.leading import LeadingDecoder, LeadingPool, LeadingStage, LeadingStates
from model.parallel.orders import Deed, Order
from model.tokenizer import read_tokenizer
from tests.model.paged.models import DEVICE, paged, reference
from tests.model.paged.test_runner import GREEDY, PROMPTS, Table
from tests.model.tiny import CONTEXT, write_tiny


@pytest.mark.parametrize(
    ("name", "steady"), [("mixtral", True), ("mamba-2", True), ("granite-4", True), ("granite-4", False)]
)
def test_who_obeys_remembers_the_same(name: str, steady: bool, tmp_path: Path) -> None:
    with GgufFile(write_tiny(tmp_path / "m.gguf")) as file:
        loaded = reference(tmp_path, name), read_tokenizer(file)
    pages, slots = 14, 5
    follower, _ = paged(loaded[0], pages=pages, slots=slots)
    follower_stage = Stage(follower, most_tokens=CONTEXT + 8, capture=False) if steady else None
    deeds = set()

    def tell(order: Order) -> None:
        assert isinstance(order, Deed)
        deeds.add(type(order).__name__)
        obey(pickle.loads(pickle.dumps(order)), follower, follower_stage)

    leader = LeadingDecoder(loaded[0], GatheredAttention(), tell)
    leader.pool = LeadingPool(leader.kv_shape, pages=pages, device=DEVICE, joined=leader.joined, tell=tell)
    leader.states = LeadingStates(leader.kv_shape, slots=slots, device=DEVICE, tell=tell)
    table = Table(loaded)
    table.caches = PagedCaches(leader.pool, leader.states)
    stage = LeadingStage(leader, most_tokens=CONTEXT + 8, capture=False, tell=tell) if steady else None
    table.runner = PagedRunner(leader, table.caches, stage=stage, prompt_tokens=48)
    for prompt in PROMPTS:
        table.add(prompt, GREEDY)
        table.step()
    table.finish()
    for prompt in (PROMPTS[3], [*PROMPTS[3], 5]):  # one from what the other left behind
        table.add(prompt, GREEDY)
        table.finish()

    assert table.together > 1
    expected = {"Read", "Copy"} | ({"Write"} if steady else set())
    assert deeds == expected | ({"ClearStates", "CopyStates"} if leader.states.layers else set())
    ours, theirs = _remembered(leader), _remembered(follower)
    assert ours
    assert all(one.any() for one in ours)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_all_lay_out_what_the_one_with_the_least_room_has_room_for(tmp_path: Path) -> None:
    whole = reference(tmp_path, "granite-4").cpu()
    decoder, _ = lay_out(whole, context_tokens=256, cache_bytes=10**7, agree=lambda count: min(count, 9))
    assert (decoder.states.slots, decoder.pool.pages) == (9, 9)


def _remembered(decoder: PagedDecoder) -> list[Tensor]:
    """All but what padding leaves behind."""
    pool, states = decoder.pool, decoder.states
    pages = [whole[(SCRATCH_PAGE + 1) * PAGE_TOKENS :] for whole in (*pool.keys, *pool.values)]
    return pages + [whole[SCRATCH_SLOT + 1 :] for whole in (*states.windows, *states.states)]
