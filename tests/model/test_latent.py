"""Latent attention over the latents themselves against keys and values rebuilt from them, and grouped routing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.cached_decoder import CachedDecoder
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.config import RouterConfig
from model.decoder import Decoder
from model.kv_cache import KvCache
from model.layers.latent import LatentAttention
from model.layers.mixture import Router
from tests.model.tiny_hf import CASES, VOCABULARY, write_hf


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["deepseek-v2-lite", "deepseek-v2", "mistral-small-4"])
def decoder(request: pytest.FixtureRequest, tmp_path: Path) -> Decoder:
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "tiny", CASES[request.param]))
    return fill_decoder(checkpoint.config, checkpoint.weights())


def _attention(decoder: Decoder) -> LatentAttention:
    attention = decoder.get_submodule("layers.0.attention")
    assert isinstance(attention, LatentAttention)
    return attention


@pytest.mark.parametrize("queries", [1, 5])
def test_absorbed_is_rebuilt(queries: int, decoder: Decoder) -> None:
    attention = _attention(decoder)
    shape, heads = attention.latent, attention.config.heads
    query = _randn(1, heads, queries, shape.plain_dim + shape.rope_dim, seed=0)
    compressed, rotary = _randn(1, 1, 30, shape.rank, seed=1), _randn(1, 1, 30, shape.rope_dim, seed=2)
    mask = torch.ones(queries, 30, dtype=torch.bool).tril(30 - queries)[None, None]
    with torch.no_grad():
        expected = attention._rebuilt(query, compressed, rotary, mask)
        torch.testing.assert_close(attention._absorbed(query, compressed, rotary, mask), expected, rtol=1e-4, atol=1e-4)


def test_single_tokens_rebuild_nothing(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.randint(0, VOCABULARY, (40,), generator=torch.Generator().manual_seed(2)).tolist()
    with torch.no_grad():
        expected = decoder(torch.tensor([ids]))[0, 30:]
    cached = CachedDecoder(decoder)
    cache = KvCache(cached.kv_shape)
    cached.forward(ids[:30], cache)
    monkeypatch.setattr(LatentAttention, "_rebuilt", None)
    found = torch.cat([cached.forward([token], cache) for token in ids[30:]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_which_way_is_cheaper_follows_from_the_sizes(decoder: Decoder) -> None:
    """Rank 32, plain 16, value 12: a query costs 36 more over the latents, rebuilding 896 once."""
    assert [_attention(decoder).absorbs(queries) for queries in (1, 24, 25)] == [True, True, False]


def test_groups_are_chosen_by_their_best_expert_and_experts_within_them() -> None:
    """Against a loop over tokens: 12 experts in 4 groups, 2 groups and 3 experts each."""
    config = RouterConfig(experts=12, chosen=3, normalize=False, scale=1.5, groups=4, groups_chosen=2)
    router = Router(8, config)
    with torch.no_grad():
        router.weight.copy_(_randn(12, 8, seed=0))
        x = _randn(50, 8, seed=1)
        weights, chosen = router(x)
        likely = torch.softmax(x @ router.weight.T, -1)
    crossed = 0
    for token in range(50):
        row = likely[token].tolist()
        best = sorted(range(4), key=lambda group: -max(row[3 * group : 3 * group + 3]))[:2]
        allowed = [expert for group in best for expert in range(3 * group, 3 * group + 3)]
        expected = sorted(allowed, key=lambda expert: -row[expert])[:3]
        assert chosen[token].tolist() == expected
        assert weights[token].tolist() == pytest.approx([1.5 * row[expert] for expert in expected])
        crossed += expected != sorted(range(12), key=lambda expert: -row[expert])[:3]
    assert crossed  # the groups made a difference
