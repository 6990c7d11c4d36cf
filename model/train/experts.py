"""A mixture of experts as training sees it: copies of one dense block, each with low-rank updates of its own.

Computes what `model.layers.mixture.Mixture` computes on the materialised weights (a test holds them equal).

Legend: N tokens, D hidden, X experts, K chosen for each token, I intermediate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import RouterConfig
from model.layers.mixture import Router
from model.train.projection import LowRankProjection

PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
_ROUTER_STD = 0.02


class Expert(nn.Module):
    """One SwiGLU block over shared frozen weights: [N, D] to [N, D]."""

    def __init__(self, weights: dict[str, Tensor], *, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (
            LowRankProjection(weights[name], rank=rank, scale=scale, generator=generator) for name in PROJECTIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        fed: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return fed


class ExpertMlp(nn.Module):
    """A router and its experts. At first every expert is the dense block, and the mixture computes what that does:
    the chosen experts' weights sum to one.

    `weights`: the dense block's float32 `gate_proj`, `up_proj` [I, D] and `down_proj` [D, I].
    """

    def __init__(
        self, weights: dict[str, Tensor], *, router: RouterConfig, rank: int, scale: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        assert router.normalize
        device = weights["up_proj"].device
        self.router = Router(weights["up_proj"].shape[1], router).to(device)
        with torch.no_grad():  # equal scores would send every token to the first experts
            start = torch.empty(self.router.weight.shape).normal_(std=_ROUTER_STD, generator=generator)
            self.router.weight.copy_(start)
        self.experts = nn.ModuleList(
            Expert(weights, rank=rank, scale=scale, generator=generator) for _ in range(router.experts)
        )
        self.balance: Tensor | None = None
        """Of the last forward pass: 1 where experts are evenly used, X where one does everything."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] to [N, D]."""
        weights, chosen = self.router(x.float())  # [N, K]
        self.balance = self._balance(x.float(), chosen)
        total = torch.zeros(x.shape, device=x.device)  # float32: shares of equal experts must add up again
        for number, expert in enumerate(self.experts):
            tokens, place = (chosen == number).nonzero(as_tuple=True)
            if len(tokens):
                total = total.index_add(0, tokens, expert(x[tokens]).float() * weights[tokens, place, None])
        return total.to(x.dtype)

    def _balance(self, x: Tensor, chosen: Tensor) -> Tensor:
        """X · Σ (share of the choices) · (mean probability), over the experts (Switch Transformer, equation 4)."""
        count = self.router.config.experts
        likely = torch.softmax(functional.linear(x, self.router.weight), -1).mean(0)  # [X]
        used = torch.bincount(chosen.flatten(), minlength=count) / chosen.numel()
        return count * (used * likely).sum()
