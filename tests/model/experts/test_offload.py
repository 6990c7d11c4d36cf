"""Experts in host memory give what they give on the device; the copies are late, as a bus is, and never in the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.experts.offload import HotExperts, OffloadedMixture, copy_expert, offload
from model.experts.reference import reference_experts
from model.experts.weights import ExpertWeights
from tests.model.experts.cases import CHOICES, Case, assert_close, tokens
from tests.model.tiny_hf import CASES, VOCABULARY, write_hf

CPU = torch.device("cpu")


class LateMover:
    """A device far away: copies arrive when they are waited for, and what is on its way holds nonsense."""

    def __init__(self) -> None:
        self.under_way: list[tuple[ExpertWeights, ExpertWeights, int, int]] = []
        self.copies = 0
        self.behind: list[bool] = []

    def start(
        self, source: ExpertWeights, target: ExpertWeights, places: Sequence[tuple[int, int]], *, behind: bool
    ) -> None:
        self.behind.append(behind)
        for expert, slot in places:
            target.down.weight[slot] = float("nan") if target.down.weight.is_floating_point() else 99
            self.under_way.append((source, target, expert, slot))
        self.copies += len(places)

    def wait(self) -> None:
        for source, target, expert, slot in self.under_way:
            copy_expert(source, target, expert, slot)
        self.under_way.clear()


def hot(case: Case, slots: int, mover: LateMover) -> tuple[HotExperts, ExpertWeights]:
    weights, _ = case.make("float32", CPU)
    return HotExperts(weights, slots=slots, device=CPU, mover=mover), weights


@pytest.mark.parametrize("slots", [2, 3, 5])
@pytest.mark.parametrize("choice", ["spread", "one takes all", "tied"])
def test_any_number_of_slots(slots: int, choice: str) -> None:
    case = Case()
    experts, weights = hot(case, slots, LateMover())
    for count in (1, 20, 3):
        x, shares = tokens(count, case, torch.float32, CPU)
        chosen = CHOICES[choice](count, case, CPU)
        wanted = list(dict.fromkeys(chosen.flatten().tolist()))
        found = experts.compute(x, shares, chosen, wanted)
        assert_close(found, reference_experts(weights, x, shares, chosen))
        assert len(experts.here) <= slots


def test_slots_that_are_being_read_are_written_behind_that() -> None:
    mover = LateMover()
    experts, _ = hot(Case(), 2, mover)
    x, shares = tokens(20, Case(), torch.float32, CPU)
    experts.compute(x, shares, CHOICES["spread"](20, Case(), CPU), [0, 1, 2, 3, 4])
    assert mover.behind == [False, True, True]


def test_eight_bits_with_scales_and_biases_move_too() -> None:
    case = Case(bias=True, activation="clamped")
    weights, _ = case.make("int8", CPU)
    experts = HotExperts(weights, slots=3, device=CPU, mover=LateMover())
    x, shares = tokens(4, case, torch.float32, CPU)
    chosen = CHOICES["spread"](4, case, CPU)
    found = experts.compute(x, shares, chosen, list(set(chosen.flatten().tolist())))
    assert_close(found, reference_experts(weights, x, shares, chosen))


def test_the_expert_that_was_used_longest_ago_makes_room() -> None:
    mover = LateMover()
    experts, _ = hot(Case(), 2, mover)
    for wanted in ([0], [1], [0], [2]):
        experts.fetch(wanted)
    assert experts.here == {0, 2}
    experts.fetch([0, 2])
    assert mover.copies == 3
    experts.fetch([4, 3, 1])  # more than fit
    assert experts.here == {4, 3}


def test_what_was_fetched_ahead_counts_as_there() -> None:
    experts, _ = hot(Case(), 3, LateMover())
    x, shares = tokens(1, Case(), torch.float32, CPU)
    chosen = torch.tensor([[1, 4]])
    experts.fetch([4, 2])
    experts.compute(x, shares, chosen, [1, 4])
    assert (experts.hits, experts.misses) == (1, 1)
    experts.compute(x, shares, chosen, [1, 4])
    assert (experts.hits, experts.misses) == (3, 1)


@pytest.mark.parametrize("case", ["mixtral", "deepseek-v2", "gpt-oss"])
def test_a_whole_model(case: str, tmp_path: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "m", CASES[case]))
    plain = fill_decoder(checkpoint.config, checkpoint.weights())
    moved = fill_decoder(checkpoint.config, checkpoint.weights())
    router = checkpoint.config.layers[-1].mlp.router
    assert router is not None
    mover = LateMover()
    made = offload(list(moved.layers), slots=router.chosen + 1, device=CPU, mover=mover)
    assert len(made) == sum(layer.mlp.router is not None for layer in checkpoint.config.layers)
    assert all(isinstance(layer, OffloadedMixture) for layer in made)
    ids = torch.randint(0, VOCABULARY, (1, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(moved(ids), plain(ids), rtol=0, atol=1e-4)
        torch.testing.assert_close(moved(ids[:, :1]), plain(ids[:, :1]), rtol=0, atol=1e-4)
    assert mover.copies > 0
