"""The gated feed-forward block, SwiGLU (Shazeer 2020)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from model.config import MlpConfig


class Mlp(nn.Module):
    """down(silu(gate(x)) · up(x)): [..., D] to [..., D]."""

    def __init__(self, hidden: int, config: MlpConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, config.intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, config.intermediate, bias=False)
        self.down_proj = nn.Linear(config.intermediate, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return projected
