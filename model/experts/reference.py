"""What experts compute, as slowly and as obviously as can be: the measure of every fast path.

Legend: N tokens, K experts chosen for each, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.experts.weights import ExpertWeights
from model.layers.mlp import combine


def reference_experts(weights: ExpertWeights, x: Tensor, shares: Tensor, chosen: Tensor) -> Tensor:
    """x [N, D], shares float32 [N, K], chosen expert numbers [N, K] to [N, D], all in float32."""
    total = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for token in range(x.shape[0]):
        for rank in range(chosen.shape[1]):
            expert = int(chosen[token, rank])
            if expert == weights.experts:  # nobody here
                continue
            total[token] += shares[token, rank] * _one(weights, x[token].float(), expert)
    return total


def _one(weights: ExpertWeights, x: Tensor, expert: int) -> Tensor:
    """One expert's answer to one token, [D] to [D]."""
    gate, up, down = (
        (stack.matrix(expert, torch.float32), stack.bias_of(expert, torch.float32))
        for stack in (weights.gate, weights.up, weights.down)
    )
    inner = combine(weights.config, functional.linear(x, *gate), functional.linear(x, *up))
    return functional.linear(inner, *down)
