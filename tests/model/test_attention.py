"""CPU attention against a softmax written out with an explicit mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.attention import CpuAttention


def plain(query: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
    """One query token and head at a time."""
    rows, heads, _ = query.shape
    share = heads // keys.shape[0]
    out = torch.empty_like(query)
    for row in range(rows):
        for head in range(heads):
            seen = start + row + 1
            weights = torch.softmax(keys[head // share, :seen] @ query[row, head], 0)
            out[row, head] = weights @ values[head // share, :seen]
    return out.flatten(1)


BLOCK_TOKENS = 16


def transposed(keys: Tensor) -> Tensor:
    """[G, C, E] to [G, C / B, E, B]."""
    kv_heads, _, head_dim = keys.shape
    return keys.view(kv_heads, -1, BLOCK_TOKENS, head_dim).transpose(2, 3).contiguous()


@pytest.mark.parametrize(("heads", "kv_heads"), [(9, 3), (4, 4), (8, 1)], ids=["grouped", "multi-head", "multi-query"])
@pytest.mark.parametrize(
    ("rows", "start", "capacity"),
    [(1, 0, 16), (1, 37, 64), (5, 0, 16), (5, 43, 48), (16, 0, 16), (24, 100, 128), (48, 3, 256), (130, 70, 208)],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str)
def test_equals_plain_softmax(
    heads: int, kv_heads: int, rows: int, start: int, capacity: int, dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(rows + start)
    query = torch.randn(rows, heads, 16, generator=generator) / 4
    keys, values = torch.randn(2, kv_heads, capacity, 16, generator=generator)
    ours = CpuAttention(dtype, few_rows=8).attend(query, transposed(keys), values, start)
    torch.testing.assert_close(ours.float(), plain(query, keys, values, start), rtol=0, atol=tolerance)


def test_what_lies_beyond_the_end_is_not_seen() -> None:
    backend = CpuAttention(torch.bfloat16, few_rows=8)
    query, keys, values = torch.randn(20, 2, 16), torch.randn(2, 128, 16), torch.randn(2, 128, 16)
    before = backend.attend(query, transposed(keys), values, 30)
    keys[:, 50:], values[:, 50:] = 1e3, -1e3
    assert torch.equal(backend.attend(query, transposed(keys), values, 30), before)
