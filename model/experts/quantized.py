"""Expert weights in eight bits, int8 and fp8 (e4m3), with a scale for each output or for groups of inputs; and in four,
int4, with a scale and a zero for each group, rounded as for the CPU's kernel (`model.linear.quantize_int4`).

Weight-only: what is computed with stays in x's type or wider.

Legend: X experts, O outputs, P inputs, S groups.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from model.experts.weights import FOUR_BITS, ExpertWeights, Stack, pack_pairs
from model.linear import GROUP, quantize_int4

PACKED = {"int8": torch.int8, "fp8": torch.float8_e4m3fn, "int4": FOUR_BITS}
_LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}


class QuantizedStack(nn.Module):
    """A packed stack, in the place of a mixture's parameter: it moves with the model from device to device."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        assert stack.scale is not None
        self.weight = nn.Buffer(stack.weight)
        self.scale = nn.Buffer(stack.scale)

    def with_bias(self, bias: Tensor | None) -> Stack:
        return Stack(weight=self.weight, scale=self.scale, bias=bias)


def quantize_experts(weights: ExpertWeights, name: str, *, group: int | None = None) -> ExpertWeights:
    """The same experts in `int8`, `fp8` or `int4`. `group`: inputs that share a scale, a divisor of them; None: all, or
    32 in int4."""
    dtype = PACKED[name]
    return replace(
        weights,
        gate=quantize_stack(weights.gate, dtype, group=group),
        up=quantize_stack(weights.up, dtype, group=group),
        down=quantize_stack(weights.down, dtype, group=group),
    )


def quantize_stack(stack: Stack, dtype: torch.dtype, *, group: int | None = None) -> Stack:
    """One stack, an expert at a time, so that the float32 copy is one matrix."""
    experts, outputs, inputs = stack.weight.shape
    device = stack.weight.device
    if dtype is FOUR_BITS:
        width = group or GROUP
        packed = torch.empty(experts, outputs, inputs // 2, dtype=dtype, device=device)
        scale = torch.empty(experts, outputs, inputs // width, 2, dtype=torch.bfloat16, device=device)
        for expert in range(experts):
            quants, scale[expert, ..., 0], scale[expert, ..., 1] = quantize_int4(
                stack.matrix(expert, torch.float32), group=width
            )
            packed[expert] = pack_pairs(quants)
        return Stack(weight=packed, scale=scale, bias=stack.bias)
    width = group or inputs
    packed = torch.empty(stack.weight.shape, dtype=dtype, device=device)
    scale = torch.empty(experts, outputs, inputs // width, dtype=torch.float32, device=device)
    for expert in range(experts):
        packed[expert], scale[expert] = _quantize(stack.matrix(expert, torch.float32), dtype, width)
    return Stack(weight=packed, scale=scale, bias=stack.bias)


def _quantize(matrix: Tensor, dtype: torch.dtype, group: int) -> tuple[Tensor, Tensor]:
    """[O, P] float32 to the packed [O, P] and scales [O, S]."""
    grouped = matrix.view(matrix.shape[0], -1, group)
    scale = grouped.abs().amax(-1).clamp_min(1e-12) / _LARGEST[dtype]
    scaled = grouped / scale[:, :, None]
    if dtype is torch.int8:
        scaled = scaled.round()
    return scaled.to(dtype).view(matrix.shape), scale
