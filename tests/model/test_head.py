"""The screened head against the exact one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.checkpoint.gguf import GgufFile
from model.head import CANDIDATES, FEW_CANDIDATES, ExactHead, ScreenedHead
from model.kv_cache import KvCache
from model.linear import Int4Linear, Int8Linear
from model.load import load_served
from model.packer import Quantize
from model.tokenizer import read_tokenizer

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


@pytest.mark.model
@pytest.mark.parametrize(("candidates", "mean", "most"), [(FEW_CANDIDATES, 0.01, 0.1), (CANDIDATES, 0.005, 0.05)])
def test_the_embedded_models_choices_and_log_probabilities(
    candidates: int, mean: float, most: float, embedded_path: Path
) -> None:
    """Against the same hidden states with all logits exact: the same choice, and its log-probability within bounds."""
    with GgufFile(embedded_path) as file:
        ids = read_tokenizer(file).encode(Path(__file__).read_text(encoding="utf-8"))[:300]
        served = load_served(file, dtype=torch.bfloat16, quantize=Quantize.AUTO)
    assert isinstance(served.head, ScreenedHead)
    hidden = served.decoder.forward(ids, KvCache(served.decoder.kv_shape), last_only=False)
    exact = hidden @ served.head.weight.float().T
    screened = served.head(hidden, candidates=candidates)
    best = exact.argmax(-1)
    assert torch.equal(screened.argmax(-1), best)
    ours, theirs = (torch.log_softmax(logits, -1).gather(1, best[:, None]) for logits in (screened, exact))
    assert float((ours - theirs).abs().mean()) < mean
    assert float((ours - theirs).abs().max()) < most
