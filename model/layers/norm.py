"""Root-mean-square norm."""

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
        return self.weight * normed.to(x.dtype)
