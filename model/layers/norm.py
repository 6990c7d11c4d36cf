"""Norms: root-mean-square, and layer norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import NormConfig


class RmsNorm(nn.Module):
    """x / rms(x) · weight, with the mean taken in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, hidden: int, config: NormConfig) -> None:
        super().__init__()
        self.epsilon = config.epsilon
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        if self.weight.dtype == x.dtype:
            return self.weight * normed.to(x.dtype)
        return (self.weight.float() * normed).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """torch's, whose weights may be wider than what is normed."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dtype == x.dtype:
            return super().forward(x)
        return nn.functional.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


def make_norm(size: int, config: NormConfig) -> nn.Module:
    """The norm that the table asks for, over `size` numbers."""
    return RmsNorm(size, config) if config.kind == "rms" else LayerNorm(size, eps=config.epsilon)
