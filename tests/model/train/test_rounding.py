"""Adapters that are trained for packed weights: what training computes with is what packing gives."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.decoder import Decoder
from model.errors import UsageError
from model.linear import GROUP, Int4Linear
from model.merge import AdapterMerge
from model.packer import Quantize
from model.train.adapter import Adapter, AdapterInfo, load_adapter
from model.train.packed import PackedDecoder
from model.train.projection import LowRankProjection, pick_rounding
from tests.model.train.test_adapter import BASE, trained_adapter


def rounded_model(decoder: Decoder) -> PackedDecoder:
    return PackedDecoder(
        copy.deepcopy(decoder), rank=4, scale=0.5, special_ids=(257,), seed=0, rounding=pick_rounding("int4")
    )


def rounded_adapter(decoder: Decoder) -> tuple[PackedDecoder, Adapter]:
    model = rounded_model(decoder)
    adapter = trained_adapter(model)
    return model, Adapter(replace(adapter.info, rounding="int4"), adapter.updates, adapter.rows)


def test_training_computes_with_the_weights_that_packing_gives() -> None:
    torch.manual_seed(1)
    base = torch.randn(64, 64)
    projection = LowRankProjection(
        base, rank=4, scale=0.5, generator=torch.Generator().manual_seed(0), rounding=pick_rounding("int4")
    )
    with torch.no_grad():
        projection.b.normal_(std=0.3)
    projection.refresh()
    packed = Int4Linear(base + 0.5 * projection.b @ projection.a)
    x = torch.randn(3, 64).bfloat16()
    torch.testing.assert_close(projection(x).float(), packed(x).float(), rtol=0.02, atol=0.15)
    unrounded = x.float() @ (base + 0.5 * projection.b @ projection.a).T
    assert (projection(x).float() - unrounded).abs().max() > 0.3


def test_rounded_weights_still_learn(decoder: Decoder) -> None:
    model = rounded_model(decoder)
    hidden = model(torch.tensor([5, 6, 257, 7]), (4,))
    model.logits(hidden).square().mean().backward()
    grads = [parameter.grad for name, parameter in model.trained().items() if name.endswith(".b")]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_the_file_remembers_how_it_was_trained(decoder: Decoder, tmp_path: Path) -> None:
    _, adapter = rounded_adapter(decoder)
    adapter.save(tmp_path / "a.safetensors")
    assert load_adapter(tmp_path / "a.safetensors").info.rounding == "int4"


@pytest.mark.parametrize(
    ("asked", "served", "rounded"),
    [
        (Quantize.AUTO, Quantize.INT4, False),
        (Quantize.INT4, Quantize.INT4, False),
        (Quantize.INT8, Quantize.INT8, True),
        (Quantize.NONE, Quantize.NONE, True),
    ],
)
def test_it_is_served_as_trained_whatever_the_format(
    decoder: Decoder, asked: Quantize, served: Quantize, rounded: bool
) -> None:
    model, adapter = rounded_adapter(decoder)
    merge = AdapterMerge(adapter, base_sha256=BASE, base=Path("base.gguf"))
    assert merge.serve_as(asked) is served
    trained = dict(model.decoder.named_modules())
    for name, weight in decoder.named_parameters():
        projection = trained.get(name.removesuffix(".weight"))
        if isinstance(projection, LowRankProjection) and weight.shape[1] % GROUP == 0:
            close = torch.allclose(merge(name, weight.detach()).bfloat16(), projection.weight, atol=1e-2)
            assert close is rounded


def test_an_adapter_that_was_trained_unrounded_is_left_to_the_usual_choice(decoder: Decoder) -> None:
    info = AdapterInfo(base_sha256=BASE, rank=4, scale=0.5, family="tersely")
    merge = AdapterMerge(Adapter(info, {}), base_sha256=BASE, base=Path("base.gguf"))
    assert merge.serve_as(Quantize.AUTO) is Quantize.AUTO


def test_unknown_roundings_are_refused() -> None:
    with pytest.raises(UsageError, match="no rounding 'int3'"):
        pick_rounding("int3")
