"""e4m3 weights: the format against torch's own numbers, and products against the weights they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.fp8 import BLOCK, E4M3, Fp8Linear, dequantize_blocks, quantize_blocks, quantize_outputs

SHAPES = [(64, 32), (192, 576), (130, 257)]


def _weight(outputs: int, inputs: int) -> Tensor:
    rows = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(outputs)) / inputs**0.5
    weight: Tensor = rows * torch.logspace(-3, 1, outputs)[:, None]
    return weight  # outputs of very different sizes


def _steps(weight: Tensor) -> Tensor:
    """Half the distance between the e4m3 numbers around a normal number of this size: three bits of mantissa."""
    exponents = torch.floor(torch.log2(weight.abs().clamp_min(2.0**-6)))
    return torch.exp2(exponents - 3) / 2


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_a_scale_for_each_output_keeps_every_weight_within_half_a_step(outputs: int, inputs: int) -> None:
    weight = _weight(outputs, inputs)
    quants, scales = quantize_outputs(weight)
    assert quants.dtype == E4M3
    assert torch.equal(quants.float().abs().amax(1), torch.full((outputs,), 448.0))
    scaled = weight / scales[:, None]
    assert ((quants.float() - scaled).abs() <= _steps(scaled) * 1.001).all()


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_blocks_are_those_of_a_loop(outputs: int, inputs: int) -> None:
    weight = _weight(outputs, inputs)
    quants, scales = quantize_blocks(weight)
    assert scales.shape == (-(-outputs // BLOCK), -(-inputs // BLOCK))
    whole = dequantize_blocks(quants, scales)
    for row in range(scales.shape[0]):
        for column in range(scales.shape[1]):
            cut = (slice(row * BLOCK, (row + 1) * BLOCK), slice(column * BLOCK, (column + 1) * BLOCK))
            assert float(scales[row, column]) == pytest.approx(float(weight[cut].abs().max()) / 448)
            assert torch.equal(whole[cut], quants[cut].float() * scales[row, column])


def test_blocks_packed_again_are_the_same_numbers() -> None:
    """So a checkpoint in blocks is served in blocks without another loss."""
    first = dequantize_blocks(*quantize_blocks(_weight(192, 300)))
    again = dequantize_blocks(*quantize_blocks(first))
    torch.testing.assert_close(again, first, rtol=1e-6, atol=0)


@pytest.mark.parametrize("block", [None, BLOCK])
@pytest.mark.parametrize("rows", [1, 5, 33])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str)
def test_products_are_those_of_the_weights(block: int | None, rows: int, dtype: torch.dtype, tolerance: float) -> None:
    packed = Fp8Linear(_weight(130, 257), dtype=dtype, block=block)
    x = torch.randn(rows, 257, generator=torch.Generator().manual_seed(rows)).bfloat16().float()
    expected = x @ packed.dequantized().T
    found = packed(x)
    assert found.dtype == packed.few_dtype == dtype
    assert ((found.float() - expected).abs() <= tolerance * expected.abs().amax()).all()
