"""Eight-bit floating-point weights, e4m3: a scale for each output, or for each block of 128 × 128. No checkpoints.

Weight-only: inputs and sums stay in the type that is computed in. CPUs have no kernel for it, so each product widens
the matrix first; what is saved is memory. Source: OCP 8-bit Floating Point Specification, revision 1.0; blocks as in
DeepSeek-V3 (arXiv 2412.19437), whose checkpoints call the scales `weight_scale_inv`.

Legend: M rows, K inputs, N outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.linear import Product

BLOCK = 128
LARGEST = 448.0
E4M3 = torch.float8_e4m3fn


class Fp8Linear:
    """e4m3 weights [N, K]; `Linear` that computes in `dtype`. `block` None: a scale for each output."""

    def __init__(self, weight: Tensor, *, dtype: torch.dtype, block: int | None = None) -> None:
        self.block = block
        self.weight, self.scales = quantize_outputs(weight) if block is None else quantize_blocks(weight, block)
        self.few: Product = self._multiply
        self.few_dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        return self._multiply(x.to(self.few_dtype))

    def dequantized(self) -> Tensor:
        """The weights that are multiplied by, float32 [N, K]."""
        if self.block is None:
            return self.weight.float() * self.scales[:, None]
        return dequantize_blocks(self.weight, self.scales, self.block)

    def _multiply(self, x: Tensor) -> Tensor:
        if self.block is not None:
            return functional.linear(x, self.dequantized().to(x.dtype))
        product = functional.linear(x, self.weight.to(x.dtype))  # every e4m3 number is a bfloat16 one
        return (product.float() * self.scales).to(x.dtype)


def quantize_outputs(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[N, K] to e4m3 [N, K] and float32 scales [N]: w = q · scale."""
    scales = weight.float().abs().amax(1).clamp_min(1e-12) / LARGEST
    return (weight.float() / scales[:, None]).to(E4M3), scales


def quantize_blocks(weight: Tensor, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """[N, K] to e4m3 [N, K] and float32 scales, one a block; those at the edges may be smaller."""
    outputs, inputs = weight.shape
    rows, columns = -(-outputs // block), -(-inputs // block)
    padded = functional.pad(weight.float(), (0, columns * block - inputs, 0, rows * block - outputs))
    peaks = padded.view(rows, block, columns, block).abs().amax((1, 3))
    scales = peaks.clamp_min(1e-12) / LARGEST
    return (weight.float() / _spread(scales, weight.shape, block)).to(E4M3), scales


def dequantize_blocks(weight: Tensor, scales: Tensor, block: int = BLOCK) -> Tensor:
    """float32 [N, K]. Source: the checkpoints' own `weight_dequant` (DeepSeek-V3, `inference/kernel.py`)."""
    return weight.float() * _spread(scales.float(), weight.shape, block)


def _spread(scales: Tensor, shape: torch.Size, block: int) -> Tensor:
    """Each scale over its block: [N, K]."""
    return scales.repeat_interleave(block, 0)[: shape[0]].repeat_interleave(block, 1)[:, : shape[1]]
