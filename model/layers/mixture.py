"""A mixture of experts, slow and obvious: each expert computes the tokens that chose it, one expert after another.

Legend: N tokens, D hidden, X experts, K chosen for each token, I intermediate.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from model.config import MlpConfig, RouterConfig
from model.layers.mlp import Mlp, combine
from model.layers.packed import PackedStack


class Router(nn.Module):
    """Which experts compute a token, and with what weight."""

    def __init__(self, hidden: int, config: RouterConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.zeros(config.experts, hidden))
        self.bias = nn.Parameter(torch.zeros(config.experts)) if config.bias else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, D] to weights float32 [N, K] and expert numbers [N, K]."""
        config = self.config
        # In float32 whatever the rest is: a rounding here chooses another expert.
        bias = None if self.bias is None else self.bias.float()
        likely = torch.softmax(nn.functional.linear(x.float(), self.weight.float(), bias), -1)  # [N, X]
        if config.groups > 1:
            likely = likely.masked_fill(~self._in_best_groups(likely), 0)
        weights, chosen = torch.topk(likely, config.chosen, dim=-1)
        if config.normalize:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights * config.scale, chosen

    def _in_best_groups(self, likely: Tensor) -> Tensor:
        """[N, X], true for the experts of the groups whose best is likeliest."""
        groups = likely.view(len(likely), self.config.groups, -1)
        best = torch.topk(groups.amax(-1), self.config.groups_chosen, dim=-1).indices
        kept = torch.zeros(groups.shape[:2], dtype=torch.bool, device=likely.device).scatter(1, best, True)
        return kept[:, :, None].expand_as(groups).reshape(likely.shape)


class Mixture(nn.Module):
    """Routed experts, and one shared by all tokens where there is one.

    Expert weights lie stacked: `gate_proj`, `up_proj` [X, I, D], `down_proj` [X, D, I], biases `gate_bias`, `up_bias`
    [X, I] and `down_bias` [X, D]. In place of each stack there may be a packed one.
    """

    def __init__(self, hidden: int, config: MlpConfig) -> None:
        super().__init__()
        assert config.router is not None
        assert config.gated
        self.config = config
        experts, inner = config.router.experts, config.intermediate
        self.router = Router(hidden, config.router)
        self.gate_proj = nn.Parameter(torch.empty(experts, inner, hidden))
        self.up_proj = nn.Parameter(torch.empty(experts, inner, hidden))
        self.down_proj = nn.Parameter(torch.empty(experts, hidden, inner))
        if config.bias:
            self.gate_bias = nn.Parameter(torch.zeros(experts, inner))
            self.up_bias = nn.Parameter(torch.zeros(experts, inner))
            self.down_bias = nn.Parameter(torch.zeros(experts, hidden))
        dense = replace(config, intermediate=config.shared, router=None, shared=0, shared_gate=False)
        self.shared = Mlp(hidden, dense) if config.shared else None
        self.shared_gate = nn.Linear(hidden, 1, bias=False) if config.shared_gate else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        rows = x.reshape(-1, x.shape[-1])  # [N, D]
        weights, chosen = self.router(rows)
        total = torch.zeros_like(rows)
        for expert in chosen.unique().tolist():
            tokens, rank = (chosen == expert).nonzero(as_tuple=True)
            share = weights[tokens, rank, None].to(x.dtype)
            total = total.index_add(0, tokens, self._expert(expert, rows[tokens]) * share)
        if self.shared is not None:
            served = self.shared(rows)
            total = total + (served if self.shared_gate is None else served * self.shared_gate(rows).sigmoid())
        return total.view_as(x)

    def _expert(self, expert: int, x: Tensor) -> Tensor:
        gate, up = self._project("gate", expert, x), self._project("up", expert, x)
        return self._project("down", expert, combine(self.config, gate, up))

    def _project(self, part: str, expert: int, x: Tensor) -> Tensor:
        stack: Tensor | PackedStack = getattr(self, f"{part}_proj")
        product = stack(expert, x) if isinstance(stack, PackedStack) else nn.functional.linear(x, stack[expert])
        if not self.config.bias:
            return product
        bias: Tensor = getattr(self, f"{part}_bias")
        return product + bias[expert]


def make_mlp(hidden: int, config: MlpConfig) -> nn.Module:
    """The feed-forward block that the table asks for."""
    return Mlp(hidden, config) if config.router is None else Mixture(hidden, config)
