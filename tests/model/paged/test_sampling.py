"""Sampling on the device: the distribution that the host draws from, and chance that is each sequence's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.api import SamplingParams
from model.paged.sampling import Kind, Sampling, kind_of, sample, seed_of

VOCABULARY = 40


def logits(rows: int) -> Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(1)) * 2


def draw(scores: Tensor, params: list[SamplingParams], positions: list[int]) -> list[int]:
    sampling = Sampling(len(params), device=torch.device("cpu"))
    sampling.fill(params, [seed_of(row) for row in params])
    kind = max((kind_of(row) for row in params), key=lambda kind: kind.value)
    return sample(scores, sampling, torch.tensor(positions), kind).tolist()


def test_greedy_takes_the_first_of_equals() -> None:
    scores = torch.tensor([[0.0, 3.0, 3.0], [1.0, 0.0, 0.0]])
    assert draw(scores, [SamplingParams()] * 2, [0, 0]) == [1, 0]
    assert draw(scores, [SamplingParams(), SamplingParams(temperature=1.0)], [0, 0])[0] == 1


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0, seed=1),
        SamplingParams(temperature=0.5, seed=1),
        SamplingParams(temperature=1.5, top_k=6, seed=1),
        SamplingParams(temperature=1.0, top_p=0.7, seed=1),
        SamplingParams(temperature=0.9, top_k=8, top_p=0.6, seed=1),
    ],
    ids=str,
)
def test_tokens_come_as_often_as_they_should(params: SamplingParams) -> None:
    """Twenty thousand draws; shares within four standard deviations."""
    rows = 20_000
    scores = logits(1).expand(rows, -1)
    found = torch.tensor(draw(scores, [params], list(range(rows)))).bincount(minlength=VOCABULARY) / rows
    wanted = _shares(scores[0], params)
    assert not found[wanted == 0].any()
    assert ((found - wanted).abs() <= 4 * (wanted * (1 - wanted) / rows).sqrt() + 1e-9).all()


def _shares(scores: Tensor, params: SamplingParams) -> Tensor:
    """The obvious way: sort, keep k, keep what is needed to reach p."""
    likely = torch.softmax(scores / params.temperature, 0)
    order = sorted(range(VOCABULARY), key=lambda token: -float(likely[token]))[: params.top_k or VOCABULARY]
    whole = sum(float(likely[token]) for token in order)
    kept, reached = [], 0.0
    for token in order:
        if reached >= params.top_p:
            break
        kept.append(token)
        reached += float(likely[token]) / whole
    shares = torch.zeros(VOCABULARY)
    shares[kept] = likely[kept]
    return shares / shares.sum()


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    scores = logits(4)
    rows = [SamplingParams(temperature=1.3, seed=seed) for seed in (5, 6, 7, 8)]
    together = draw(scores, rows, [10, 11, 12, 13])
    alone = [draw(scores[n : n + 1], rows[n : n + 1], [10 + n])[0] for n in range(4)]
    assert together == alone
    flat = torch.zeros(50, VOCABULARY)
    by_position = draw(flat, [rows[0]], list(range(50)))
    assert len(set(by_position)) > 20
    other_seed = draw(flat, [rows[1]], list(range(50)))
    assert sum(first == second for first, second in zip(by_position, other_seed, strict=True)) < 10


def test_rows_of_one_sequence_share_its_way() -> None:
    scores = logits(1).expand(6, -1)
    rows = [SamplingParams(temperature=2.0, top_k=1), SamplingParams(), SamplingParams(temperature=1.0, top_p=1e-9)]
    assert set(draw(scores, rows, [1, 2, 1, 2, 1, 2])) == {int(scores[0].argmax())}


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        (SamplingParams(), Kind.GREEDY),
        (SamplingParams(temperature=1.0), Kind.DRAW),
        (SamplingParams(temperature=1.0, top_k=3), Kind.CUT),
        (SamplingParams(temperature=1.0, top_p=0.9), Kind.CUT),
    ],
    ids=str,
)
def test_what_a_request_takes(params: SamplingParams, kind: Kind) -> None:
    assert kind_of(params) is kind


def test_seeds_are_64_bits_of_either_sign() -> None:
    assert seed_of(SamplingParams(seed=2**64 - 1)) == -1
    assert seed_of(SamplingParams(seed=-(2**63))) == -(2**63)
    assert seed_of(SamplingParams()) != seed_of(SamplingParams())
