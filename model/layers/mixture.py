"""A mixture of experts: a router, the experts that it chooses (`model.experts`), and one shared by all tokens.

Legend: N tokens, D hidden, X experts, K chosen for each token, I intermediate.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from model.config import MlpConfig, RouterConfig
from model.experts.compute import compute_experts
from model.experts.few import has_triton
from model.experts.quantized import QuantizedStack
from model.experts.weights import ExpertWeights, Stack
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
    [X, I] and `down_bias` [X, D]. In place of the stacks there may be packed ones, for CPU kernels or for a GPU's.
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
        stacks = self.stacks()
        total = (
            self._in_turn(rows, weights, chosen) if stacks is None else compute_experts(stacks, rows, weights, chosen)
        )
        if self.shared is not None:
            served = self.shared(rows)
            total = total + (served if self.shared_gate is None else served * self.shared_gate(rows).sigmoid())
        return total.view_as(x)

    @property
    def asks_host(self) -> bool:
        """Does the host look at each choice on a GPU here? Then no step can be captured."""
        return not has_triton()

    def stacks(self) -> ExpertWeights | None:
        """The experts as `model.experts` computes them; None where they are packed for CPU kernels."""
        found: dict[str, Stack] = {}
        for part in ("gate", "up", "down"):
            stack: Tensor | PackedStack | QuantizedStack = getattr(self, f"{part}_proj")
            if isinstance(stack, PackedStack):
                return None
            bias: Tensor | None = getattr(self, f"{part}_bias", None)
            plain = Stack(weight=stack, bias=bias) if isinstance(stack, Tensor) else stack.with_bias(bias)
            found[part] = plain
        return ExpertWeights(gate=found["gate"], up=found["up"], down=found["down"], config=self.config)

    def _in_turn(self, rows: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        total = torch.zeros_like(rows)
        for expert in torch.unique(chosen).tolist():
            tokens, rank = (chosen == expert).nonzero(as_tuple=True)
            share = weights[tokens, rank, None].to(rows.dtype)
            total = total.index_add(0, tokens, self._expert(expert, rows[tokens]) * share)
        return total

    def _expert(self, expert: int, x: Tensor) -> Tensor:
        gate, up = self._project("gate", expert, x), self._project("up", expert, x)
        return self._project("down", expert, combine(self.config, gate, up))

    def _project(self, part: str, expert: int, x: Tensor) -> Tensor:
        stack: PackedStack = getattr(self, f"{part}_proj")
        product: Tensor = stack(expert, x)
        if not self.config.bias:
            return product
        bias: Tensor = getattr(self, f"{part}_bias")
        return product + bias[expert]


def make_mlp(hidden: int, config: MlpConfig) -> nn.Module:
    """The feed-forward block that the table asks for."""
    return Mlp(hidden, config) if config.router is None else Mixture(hidden, config)
