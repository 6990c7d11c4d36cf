"""The weights of a layer's experts, stacked, in any number format that the kernels read. Computes nothing.

Legend: X experts, O outputs, P inputs, S groups of inputs that share a scale, D hidden, I intermediate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import MlpConfig
from model.linear import dequantize_int4

FOUR_BITS = torch.uint8
_PIECE = 1 << 24
"""Numbers that are widened at once: 64 MB of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One matrix for each expert: `weight` [X, O, P], of a float type, or int8 or float8_e4m3fn with scales.

    `scale` float32 [X, O, S]: weight (x, o, p) stands for weight · scale (x, o, p // (P / S)). `bias` [X, O].
    The inputs of an output lie side by side (stride one); experts and outputs may be views of something larger.

    In four bits `weight` is uint8 [X, O, P / 2], each byte two neighbours' quants, the first one's in the low half, and
    `scale` bfloat16 [X, O, S, 2] holds scales and zeros: a weight is (q − 8) · scale + zero.
    """

    weight: Tensor
    scale: Tensor | None = None
    bias: Tensor | None = None

    @property
    def inputs(self) -> int:
        """How many numbers a row of a matrix has."""
        return self.weight.shape[2] * (2 if self.weight.dtype is FOUR_BITS else 1)

    @property
    def group(self) -> int:
        """Inputs that share a scale; 0: there are no scales."""
        return 0 if self.scale is None else self.inputs // self.scale.shape[2]

    @property
    def size_bytes(self) -> int:
        parts = (self.weight, self.scale, self.bias)
        return sum(part.numel() * part.element_size() for part in parts if part is not None)

    def matrix(self, expert: int, dtype: torch.dtype) -> Tensor:
        """One expert's matrix [O, P] as it stands. Packed ones are widened a piece at a time, by way of float32."""
        weight = self.weight[expert]
        if self.scale is None:
            return weight.to(dtype)
        matrix = torch.empty(len(weight), self.inputs, dtype=dtype, device=weight.device)
        rows = max(1, _PIECE // self.inputs)
        for first in range(0, len(weight), rows):
            piece = slice(first, first + rows)
            matrix[piece] = _widen(weight[piece], self.scale[expert][piece])
        return matrix

    def bias_of(self, expert: int, dtype: torch.dtype) -> Tensor | None:
        return None if self.bias is None else self.bias[expert].to(dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertWeights:
    """`gate`, `up` [X, I, D] and `down` [X, D, I]; `config` says how gate and up are combined."""

    gate: Stack
    up: Stack
    down: Stack
    config: MlpConfig

    @property
    def experts(self) -> int:
        return self.gate.weight.shape[0]

    @property
    def hidden(self) -> int:
        return self.gate.inputs

    @property
    def inner(self) -> int:
        return self.gate.weight.shape[1]

    @property
    def size_bytes(self) -> int:
        return self.gate.size_bytes + self.up.size_bytes + self.down.size_bytes


def pack_pairs(quants: Tensor) -> Tensor:
    """Whole numbers 0 … 15, [O, P], two to a byte: [O, P / 2]."""
    return (quants[:, 0::2] | quants[:, 1::2] << 4).to(FOUR_BITS)


def _widen(weight: Tensor, scale: Tensor) -> Tensor:
    """Rows of a packed matrix, and their scales, to float32 [O, P]."""
    if weight.dtype is FOUR_BITS:
        quants = torch.stack((weight & 15, weight >> 4), -1).flatten(1)
        return dequantize_int4(quants, scale[..., 0], scale[..., 1])
    grouped = weight.float().view(*scale.shape, -1) * scale[:, :, None]
    return grouped.flatten(1)
