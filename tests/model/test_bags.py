"""Attention by embedding bags against a softmax written out, for every place in a block and every kind of heads."""

from __future__ import annotations

import pytest
import torch

from model.bags import BLOCK_TOKENS, Bags
from model.config import AttentionConfig, RopeConfig
from model.kv_cache import KvCache, KvShape
from tests.model.test_attention import plain

HEAD_DIM = 16
STARTS = [0, 37, BLOCK_TOKENS - 2, BLOCK_TOKENS - 1, BLOCK_TOKENS, 3 * BLOCK_TOKENS - 3]


def _config(heads: int, kv_heads: int) -> AttentionConfig:
    return AttentionConfig(
        heads=heads, kv_heads=kv_heads, head_dim=HEAD_DIM, rope=RopeConfig(base=1e4, dimensions=HEAD_DIM)
    )


def _cache(kv_heads: int, tokens: int, dtype: torch.dtype) -> KvCache:
    """A cache of one layer, with random numbers beyond its tokens as well."""
    shape = KvShape(layers=1, kv_heads=kv_heads, head_dim=HEAD_DIM, dtype=dtype, block_tokens=BLOCK_TOKENS)
    cache = KvCache(shape)
    cache.reserve(tokens)
    generator = torch.Generator().manual_seed(tokens)
    for table in cache.tables[0]:
        table.copy_(torch.randn(table.shape, generator=generator))
    return cache


@pytest.mark.parametrize(("heads", "kv_heads"), [(9, 3), (4, 4), (8, 1)], ids=["grouped", "multi-head", "multi-query"])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 5e-3)], ids=str)
def test_equals_plain_softmax(
    heads: int, kv_heads: int, start: int, rows: int, dtype: torch.dtype, tolerance: float
) -> None:
    cache = _cache(kv_heads, start + rows, dtype)
    query = torch.randn(rows, heads, HEAD_DIM, generator=torch.Generator().manual_seed(start)) / 4
    bags = Bags(_config(heads, kv_heads), rows=rows)
    bags.open(cache, start)
    ours = bags.attend(query.view(rows, kv_heads, -1, 1, HEAD_DIM), *cache.tables[0]).view(rows, -1)
    keys = cache.keys[0].transpose(2, 3).flatten(1, 2).float()  # [G, C, E]
    torch.testing.assert_close(ours.float(), plain(query, keys, cache.values[0].float(), start), rtol=0, atol=tolerance)


def test_one_after_another_reads_what_was_opened_last() -> None:
    """Scratch memory is shared: another cache, another number of blocks, and back."""
    bags = Bags(_config(4, 2), rows=1)
    query = torch.randn(1, 4, HEAD_DIM)
    places = [
        (_cache(2, 300, torch.float16), 299),
        (_cache(2, 900, torch.float16), 5),
        (_cache(2, 900, torch.float32), 5),
    ]
    for cache, start in [*places, *reversed(places)]:
        bags.open(cache, start)
        ours = bags.attend(query.view(1, 2, 2, 1, HEAD_DIM), *cache.tables[0]).view(1, -1)
        keys = cache.keys[0].transpose(2, 3).flatten(1, 2).float()
        expected = plain(query, keys, cache.values[0].float(), start)
        torch.testing.assert_close(ours.float(), expected, rtol=0, atol=1e-2)
