"""The weights of a layer's experts, stacked, in any number format that the kernels read. Computes nothing.

Legend: X experts, O outputs, P inputs, S groups of inputs that share a scale, D hidden, I intermediate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import MlpConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One matrix for each expert: `weight` [X, O, P], of a float type, or int8 or float8_e4m3fn with scales.

    `scale` float32 [X, O, S]: weight (x, o, p) stands for weight · scale (x, o, p // (P / S)). `bias` [X, O].
    The inputs of an output lie side by side (stride one); experts and outputs may be views of something larger.
    """

    weight: Tensor
    scale: Tensor | None = None
    bias: Tensor | None = None

    @property
    def group(self) -> int:
        """Inputs that share a scale; 0: there are no scales."""
        return 0 if self.scale is None else self.weight.shape[2] // self.scale.shape[2]

    @property
    def size_bytes(self) -> int:
        parts = (self.weight, self.scale, self.bias)
        return sum(part.numel() * part.element_size() for part in parts if part is not None)

    def matrix(self, expert: int, dtype: torch.dtype) -> Tensor:
        """One expert's matrix [O, P] as it stands."""
        weight = self.weight[expert]
        if self.scale is None:
            return weight.to(dtype)
        outputs, inputs = weight.shape
        grouped = weight.float().view(outputs, -1, self.group) * self.scale[expert][:, :, None]
        return grouped.view(outputs, inputs).to(dtype)

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
        return self.gate.weight.shape[2]

    @property
    def inner(self) -> int:
        return self.gate.weight.shape[1]

    @property
    def size_bytes(self) -> int:
        return self.gate.size_bytes + self.up.size_bytes + self.down.size_bytes
