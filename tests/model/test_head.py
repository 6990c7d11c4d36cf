"""The screened head against the exact one."""

from __future__ import annotations

import pytest
import torch

from model.head import CANDIDATES, ExactHead, ScreenedHead
from model.linear import Int4Linear, Int8Linear

VOCABULARY, HIDDEN = 4096, 64


@pytest.mark.parametrize("pack", [Int8Linear, Int4Linear])
@pytest.mark.parametrize("seed", range(5))
def test_the_likeliest_logits_are_exact(pack: type[Int8Linear] | type[Int4Linear], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    hidden = torch.randn(1, HIDDEN, generator=generator)
    exact, screened = ExactHead(weight)(hidden)[0], ScreenedHead(pack(weight), weight)(hidden)[0]
    best = torch.topk(exact, 20).indices
    torch.testing.assert_close(screened[best], exact[best], rtol=0, atol=1e-4)
    assert int(screened.argmax()) == int(exact.argmax())
    assert int(((screened - exact).abs() < 1e-4).sum()) >= CANDIDATES


def test_a_vocabulary_smaller_than_the_candidates_is_exact() -> None:
    weight, hidden = torch.randn(64, HIDDEN), torch.randn(1, HIDDEN)
    torch.testing.assert_close(
        ScreenedHead(Int8Linear(weight), weight)(hidden), ExactHead(weight)(hidden), rtol=0, atol=1e-4
    )
