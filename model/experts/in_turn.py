"""Experts one after another over the tokens that chose them: any device, any number format, gradients too.

Tokens are sorted by expert once, and the weights of each chosen expert are touched once. Costs the host a look at the
choice, so this is for CPUs and for training.

Legend: N tokens, K experts chosen for each, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.experts.weights import ExpertWeights
from model.layers.mlp import combine


def experts_in_turn(weights: ExpertWeights, x: Tensor, shares: Tensor, chosen: Tensor) -> Tensor:
    """x [N, D], shares [N, K], chosen [N, K] to [N, D] of x's type, which is also what is computed in."""
    order = torch.argsort(chosen.flatten(), stable=True)  # [N · K], pairs by expert
    tokens = order // chosen.shape[1]
    portions = shares.flatten()[order].to(x.dtype)[:, None]
    counts = torch.bincount(chosen.flatten(), minlength=weights.experts).tolist()[: weights.experts]
    total = torch.zeros_like(x)
    begin = 0
    for expert, count in enumerate(counts):
        if count:
            mine = slice(begin, begin + count)
            answered = one_expert(weights, x[tokens[mine]], expert)
            total = total.index_add(0, tokens[mine], answered * portions[mine])
            begin += count
    return total


def one_expert(weights: ExpertWeights, x: Tensor, expert: int) -> Tensor:
    """One expert's answers to rows [M, D]."""
    gate = functional.linear(x, weights.gate.matrix(expert, x.dtype), weights.gate.bias_of(expert, x.dtype))
    up = functional.linear(x, weights.up.matrix(expert, x.dtype), weights.up.bias_of(expert, x.dtype))
    inner = combine(weights.config, gate, up)
    return functional.linear(inner, weights.down.matrix(expert, x.dtype), weights.down.bias_of(expert, x.dtype))
