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
    WidenedInt4,
    dequantize_int4,
    four_bit_steps,
    int4_fits,
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
    torch.testing.assert_close(WidenedInt4(*quantize_int4(weight))(x).float(), expected, **BFLOAT16)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q4_K"])
def test_four_bit_files_pack_without_loss(name: str) -> None:
    weight = _stored(name)
    steps = four_bit_steps(weight)
    assert steps is not None
    assert steps.min() >= 1
    assert bool((steps == 15).all()) == (name == "Q4_1")  # others leave outer levels out
    quantized = quantize_int4(weight, steps=steps)
    error = (dequantize_int4(*quantized) - weight).view(64, -1, 32).abs().amax(-1)
    assert (error <= 0.1 * quantized[1].float()).all()  # scales and zeros in bfloat16 are all that is lost


def _stored(name: str) -> torch.Tensor:
    """Weights as a file of that format holds them. Q4_K is written here: the gguf package reads it only."""
    if name == "Q4_K":
        random = torch.Generator().manual_seed(3)
        quants = torch.randint(0, 16, (64, 8, 32), generator=random).clamp(1, 13)
        quants[:, ::3] = quants[:, ::3].clamp(4, 11)
        scales, least = torch.rand(2, 64, 8, 1, generator=random) * 0.01 + 0.001
        return (quants * scales - (6 + 300 * least) * scales).view(64, 256)
    kind = gguf.GGMLQuantizationType[name]
    stored: np.ndarray = gguf.dequantize(gguf.quantize(_weight(64, 256).numpy(), kind), kind)
    return torch.from_numpy(stored.astype(np.float32))


@pytest.mark.parametrize("name", ["Q5_0", "Q8_0"])
def test_finer_files_are_not_taken_for_four_bits(name: str) -> None:
    assert four_bit_steps(_stored(name)) is None


def test_weights_off_the_grid_are_known() -> None:
    weight = _weight(64, 256)
    assert four_bit_steps(weight) is None
    grid = dequantize_int4(*quantize_int4(weight))
    assert four_bit_steps(grid) is not None
    assert four_bit_steps(grid + 1e-3 * _weight(256, 64).view(64, 256)) is None
    grid[5, 40] += 0.3 * (grid[5].max() - grid[5].min())  # one weight, in a row that the sample leaves out
    assert four_bit_steps(grid) is None
    assert four_bit_steps(torch.zeros(64, 64)) is not None


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
