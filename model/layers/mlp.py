"""The feed-forward block: one expert, and the choice between a single one and a mixture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import MlpConfig

CLAMP = 7.0
CLAMPED_SLOPE = 1.702
"""gpt-oss's limit and sigmoid slope (OpenAI's reference, `gpt_oss/torch/model.py`)."""


class Mlp(nn.Module):
    """down(activation(gate(x)) · up(x)), or down(activation(up(x))) without a gate: [..., D] to [..., D]."""

    def __init__(self, hidden: int, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
        if config.gated:
            self.gate_proj = nn.Linear(hidden, config.intermediate, bias=config.bias)
        self.up_proj = nn.Linear(hidden, config.intermediate, bias=config.bias)
        self.down_proj = nn.Linear(config.intermediate, hidden, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        up = self.up_proj(x)
        inner = combine(self.config, self.gate_proj(x) if self.config.gated else None, up)
        projected: Tensor = self.down_proj(inner)
        return projected


def combine(config: MlpConfig, gate: Tensor | None, up: Tensor) -> Tensor:
    """What the down projection reads, from the two projections in [..., I], or from the one there is."""
    if config.activation == "clamped":
        assert gate is not None
        gate = gate.clamp(max=CLAMP)
        return (up.clamp(-CLAMP, CLAMP) + 1) * gate * torch.sigmoid(CLAMPED_SLOPE * gate)
    first = up if gate is None else gate
    active = functional.silu(first) if config.activation == "silu" else functional.gelu(first, approximate="tanh")
    return active if gate is None else active * up
