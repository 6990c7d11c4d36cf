"""Rotary position embedding, half-split layout (Su et al. 2021; the layout is HF's).

Legend: B batch, T tokens, H heads, E head dimensions, R rotated dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.config import LearnedGrowth, QueryGrowth, RopeConfig


def rope_table(config: RopeConfig, positions: Tensor, exponents: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and sines for integer positions [...]: two float32 tensors [..., R], each half repeated. `exponents`
    [R / 2] are what a model learned."""
    steps = torch.arange(0, config.dimensions, 2, dtype=torch.int64).float() / config.dimensions
    frequencies = 1.0 / (config.base**steps)  # [R / 2]
    if config.factors is not None:
        frequencies = frequencies / torch.tensor(config.factors)
    frequencies = frequencies.to(positions.device)
    if exponents is not None:
        frequencies = frequencies * exponents.float().exp()
    angles = positions.float()[..., None] * frequencies
    doubled = torch.cat((angles, angles), dim=-1)  # [..., R]
    if config.scale == 1.0:
        return doubled.cos(), doubled.sin()
    return doubled.cos() * config.scale, doubled.sin() * config.scale


def query_growth(config: QueryGrowth | LearnedGrowth, positions: Tensor) -> Tensor:
    """What queries at integer positions [...] are multiplied by, or, where that is learned, what the learned slope is:
    float32 [...]."""
    if isinstance(config, LearnedGrowth):
        return torch.log1p(positions.float())
    return 1 + config.slope * torch.log1p(torch.floor(positions.float() / config.step_tokens))


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn the first R dimensions of x [B, H, T, E] by tables that broadcast to [B, H, T, R]."""
    rotated = cosines.shape[-1]
    if rotated == 0:
        return x
    turning, still = x[..., :rotated], x[..., rotated:]
    first, second = turning.chunk(2, dim=-1)
    turned = turning * cosines + torch.cat((-second, first), dim=-1) * sines
    return torch.cat((turned.to(x.dtype), still), dim=-1)
