"""Packed matrices against the float32 product of the weights they stand for."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from model.linear import (
    FEW_ROWS,
    Int4Linear,
    Int8Linear,
    PackedLinear,
    PlainLinear,
    dequantize_int4,
    int4_fits,
    is_four_bit,
    quantize_int4,
)
from model.packer import Packer, Quantize

SHAPES = [(64, 32), (192, 576), (128, 96), (960, 64)]
# Inputs, products and sums are rounded to 8 bits of mantissa.
BFLOAT16 = {"rtol": 2e-2, "atol": 2e-2}


def _weight(outputs: int, inputs: int) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(outputs)) / inputs**0.5


def _rows(rows: int, inputs: int) -> torch.Tensor:
    return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows)).bfloat16().float()


@pytest.mark.parametrize(("outputs", "inputs"), [*SHAPES, (48, 24), (5, 7)])
@pytest.mark.parametrize("rows", [1, 3, 8, 33])
def test_int8_multiplies_by_its_weights(outputs: int, inputs: int, rows: int) -> None:
    weight, x = _weight(outputs, inputs), _rows(rows, inputs)
    packed = Int8Linear(weight)
    torch.testing.assert_close(packed(x).float(), x @ packed.dequantized().T, **BFLOAT16)
    steps = weight.abs().amax(dim=1, keepdim=True) / 126
    assert ((packed.dequantized() - weight).abs() <= 0.51 * steps).all()


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("rows", [1, 3, 8, 33])
def test_int4_multiplies_by_its_weights(outputs: int, inputs: int, rows: int) -> None:
    weight, x = _weight(outputs, inputs), _rows(rows, inputs)
    expected = x @ dequantize_int4(*quantize_int4(weight)).T
    torch.testing.assert_close(Int4Linear(weight)(x).float(), expected, **BFLOAT16)


def test_q4_1_packs_without_loss() -> None:
    kind = gguf.GGMLQuantizationType.Q4_1
    weight = torch.from_numpy(gguf.dequantize(gguf.quantize(_weight(64, 256).numpy(), kind), kind).astype(np.float32))
    step = (weight.view(64, -1, 32).amax(-1) - weight.view(64, -1, 32).amin(-1)).amax() / 15
    error = (dequantize_int4(*quantize_int4(weight)) - weight).abs().max()
    assert error <= 0.05 * step  # scales and zeros in bfloat16 are all that is lost
    assert is_four_bit(weight)


def test_weights_off_the_grid_are_known() -> None:
    weight = _weight(64, 256)
    assert not is_four_bit(weight)
    grid = dequantize_int4(*quantize_int4(weight))
    assert is_four_bit(grid)
    assert not is_four_bit(grid + 1e-3 * _weight(256, 64).view(64, 256))
    assert is_four_bit(torch.zeros(64, 64))


@pytest.mark.parametrize(
    ("shape", "fits"), [((64, 32), True), ((65, 32), False), ((64, 33), False), ((270, 64), False)]
)
def test_the_int4_kernels_shapes(shape: tuple[int, int], fits: bool) -> None:
    assert int4_fits(torch.zeros(shape)) is fits


def test_constant_and_zero_weights_survive() -> None:
    for weight in (torch.zeros(64, 64), torch.full((64, 64), 0.25), torch.full((64, 64), -3.0)):
        x = _rows(1, 64)
        torch.testing.assert_close(Int8Linear(weight)(x).float(), x @ weight.T, rtol=2e-2, atol=0.1)
        torch.testing.assert_close(Int4Linear(weight)(x).float(), x @ weight.T, rtol=2e-2, atol=0.1)


def test_few_rows_take_the_packed_weights_and_many_the_plain_ones() -> None:
    few, many = PlainLinear(torch.ones(2, 4)), PlainLinear(torch.zeros(2, 4))
    linear = PackedLinear(few, many)
    assert linear(torch.ones(FEW_ROWS, 4)).sum() > 0
    assert linear(torch.ones(FEW_ROWS + 1, 4)).sum() == 0


def test_long_prompts_are_read_with_the_weights_that_answers_are_written_with() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(128, 64), torch.randn(64, 64)
    linear = Packer(dtype=torch.float32, quantize=Quantize.INT4).linear(weight)
    few, many = linear(x[:4]).float(), linear(x)[:4]
    torch.testing.assert_close(few, many, rtol=0.02, atol=0.1)  # bfloat16 against float32
    assert (many - x[:4] @ weight.T).abs().max() > 0.5
