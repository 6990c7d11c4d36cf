"""The packed decoder against the reference decoder, and trained projections against plain autograd."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.decoder import Decoder
from model.train.packed import PackedDecoder, attend
from model.train.projection import FullProjection, LowRankProjection
from tests.model.train.tiny_corpus import VOCABULARY

LENGTHS = (7, 1, 12)


def packed_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, documents and positions, [1, N] each."""
    tokens = torch.randint(0, VOCABULARY, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(2))
    documents = torch.cat([torch.full((size,), number) for number, size in enumerate(LENGTHS)])[None]
    positions = torch.cat([torch.arange(size) for size in LENGTHS])[None]
    return tokens, documents, positions


@pytest.mark.parametrize("rank", [4, None])
def test_hidden_states_equal_the_reference(decoder: Decoder, rank: int | None) -> None:
    tokens, documents, positions = packed_inputs()
    with torch.no_grad():
        expected = decoder(tokens, positions=positions, documents=documents)[0]
        model = PackedDecoder(decoder, rank=rank, scale=1.0, special_ids=(257, 258), seed=0)
        found = model(tokens[0], LENGTHS).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.08)  # bfloat16 of values up to 4
    assert functional.cosine_similarity(found, expected).min() > 0.999


def test_attention_equals_torch_forward_and_backward() -> None:
    torch.manual_seed(1)
    count = sum(LENGTHS)
    q, k, v = torch.randn(count, 4, 8), torch.randn(count, 2, 8), torch.randn(count, 2, 8)
    ours = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
    theirs = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
    out = attend(*ours, bounds=[(0, 7), (7, 8), (8, 20)])
    rows = [tensor.split(LENGTHS) for tensor in theirs]
    expected = torch.cat(
        [
            functional.scaled_dot_product_attention(
                *(part.transpose(0, 1) for part in parts), is_causal=True, enable_gqa=True
            ).transpose(0, 1)
            for parts in zip(*rows, strict=True)
        ]
    )
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, reference.grad)


def test_low_rank_gradients_equal_autograd() -> None:
    torch.manual_seed(1)
    base, x = torch.randn(6, 10), torch.randn(9, 10, requires_grad=True)
    layer = LowRankProjection(base, rank=3, scale=0.5, generator=torch.Generator().manual_seed(0))
    layer.weight = layer.weight.float()  # compare in float32
    with torch.no_grad():
        layer.b.normal_()
    layer.refresh()
    out = layer(x)
    a, b, y = (tensor.detach().clone().requires_grad_() for tensor in (layer.a, layer.b, x))
    expected = functional.linear(y, base + 0.5 * b @ a)
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    for mine, reference in ((layer.a, a), (layer.b, b), (x, y)):
        torch.testing.assert_close(mine.grad, reference.grad)


def test_full_gradients_equal_autograd() -> None:
    base, x = torch.randn(6, 10), torch.randn(9, 10)
    layer = FullProjection(base)
    layer.weight = layer.weight.float()
    layer.refresh()
    layer(x).square().sum().backward()
    reference = base.clone().requires_grad_()
    functional.linear(x, reference).square().sum().backward()
    torch.testing.assert_close(layer.master.grad, reference.grad)


def test_only_updates_and_special_rows_are_trained(decoder: Decoder) -> None:
    frozen = copy.deepcopy(decoder.state_dict())
    model = PackedDecoder(decoder, rank=4, scale=1.0, special_ids=(257,), seed=0)
    names = set(model.trained())
    assert "special_rows" in names
    assert all(name.endswith((".a", ".b", "special_rows")) for name in names)
    assert len(names) == 1 + 2 * 7 * 2
    torch.testing.assert_close(model.special_rows.data, frozen["embedding.weight"][[257]])


def test_special_rows_get_gradients(decoder: Decoder) -> None:
    model = PackedDecoder(decoder, rank=4, scale=1.0, special_ids=(257, 258), seed=0)
    model(torch.tensor([1, 258, 3]), (3,)).float().square().sum().backward()
    grad = model.special_rows.grad
    assert grad is not None
    assert grad[0].abs().sum() == 0
    assert grad[1].abs().sum() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_attention_on_a_gpu_equals_the_cpu() -> None:
    torch.manual_seed(1)
    count, bounds = sum(LENGTHS), [(0, 7), (7, 8), (8, 20)]
    tensors = [torch.randn(count, heads, 64, dtype=torch.bfloat16) for heads in (4, 2, 2)]
    here = [tensor.clone().requires_grad_() for tensor in tensors]
    there = [tensor.cuda().requires_grad_() for tensor in tensors]
    out, moved = attend(*here, bounds=bounds), attend(*there, bounds=bounds)
    torch.testing.assert_close(moved.cpu(), out, rtol=0, atol=0.03)
    out.float().square().sum().backward()
    moved.float().square().sum().backward()
    for mine, theirs in zip(here, there, strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(theirs.grad.cpu(), mine.grad, rtol=0.05, atol=0.1)
