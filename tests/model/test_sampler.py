"""Sampling: greedy, seeds, cuts, log-probabilities, and refused parameters."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from model.api import SamplingParams
from model.errors import RequestError
from model.sampler import Sampler

LOGITS = torch.tensor([0.0, 2.0, 1.0, -1.0, 2.0])


def draws(params: SamplingParams, count: int = 4000) -> Counter[int]:
    sampler = Sampler(params)
    return Counter(sampler.choose(LOGITS).token_id for _ in range(count))


def test_greedy_takes_the_first_of_the_greatest() -> None:
    assert Sampler(SamplingParams()).choose(LOGITS).token_id == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature: float) -> None:
    seen = draws(SamplingParams(temperature=temperature, seed=1))
    expected = torch.softmax(LOGITS / temperature, 0)
    for token_id, probability in enumerate(expected.tolist()):
        # Five standard deviations of a binomial.
        assert abs(seen[token_id] / 4000 - probability) < 5 * (probability * (1 - probability) / 4000) ** 0.5


def test_top_k_and_top_p_cut_the_tail() -> None:
    assert set(draws(SamplingParams(temperature=5.0, seed=1, top_k=3))) == {1, 2, 4}
    assert set(draws(SamplingParams(temperature=1.0, seed=1, top_p=0.5))) == {1, 4}  # 0.39 + 0.39 reach it
    assert len(draws(SamplingParams(temperature=1.0, seed=1, top_p=1e-9))) == 1
    assert set(draws(SamplingParams(temperature=1.0, seed=1, top_k=100))) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("extra", [{}, {"top_k": 3}, {"top_p": 0.9}])
def test_a_seed_fixes_the_draws(extra: dict[str, float]) -> None:
    def tokens(seed: int) -> list[int]:
        sampler = Sampler(SamplingParams(temperature=1.5, seed=seed, **extra))
        return [sampler.choose(LOGITS).token_id for _ in range(50)]

    assert tokens(7) == tokens(7)
    assert tokens(7) != tokens(8)


def test_without_a_seed_draws_differ() -> None:
    runs = {
        tuple(Sampler(SamplingParams(temperature=2.0)).choose(LOGITS).token_id for _ in range(1)) for _ in range(99)
    }
    assert len(runs) > 1


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logprobs_are_those_of_the_full_softmax(temperature: float) -> None:
    choice = Sampler(SamplingParams(temperature=temperature, seed=1, logprobs=3)).choose(LOGITS)
    expected = torch.log_softmax(LOGITS, 0).tolist()
    assert choice.logprob == pytest.approx(expected[choice.token_id], abs=1e-6)
    assert [logprob for _, logprob in choice.top] == pytest.approx(sorted(expected, reverse=True)[:3], abs=1e-6)
    assert all(logprob == pytest.approx(expected[token_id], abs=1e-6) for token_id, logprob in choice.top)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("seed", 2**64),
        ("logprobs", 101),
        ("logprobs", -1),
        ("stop", ("ok", "")),
    ],
)
def test_senseless_parameters_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=name) as caught:
        Sampler(SamplingParams(**{name: value}))
    assert caught.value.hint
