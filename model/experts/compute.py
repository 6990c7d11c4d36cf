"""The seam: what experts answer, by whichever way is fast for the device and the number of tokens.

Legend: N tokens, K experts chosen for each, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.experts.few import FEW_TOKENS, few_experts, has_triton
from model.experts.grouped import torch_grouped_experts, torch_groups, triton_grouped_experts
from model.experts.in_turn import experts_in_turn
from model.experts.weights import ExpertWeights


def compute_experts(weights: ExpertWeights, x: Tensor, shares: Tensor, chosen: Tensor) -> Tensor:
    """x [N, D], shares float32 [N, K], chosen [N, K] to the weighted sum of the chosen experts' answers, [N, D].

    The number behind the last expert's is nobody's, and adds nothing: where a process has a part of the experts alone.
    On a CUDA device with Triton the host never waits for the choice; gradients, CPUs and the rest go expert by expert.
    """
    learns = torch.is_grad_enabled() and (x.requires_grad or weights.gate.weight.requires_grad)
    if x.device.type != "cuda" or learns or not has_triton():
        return experts_in_turn(weights, x, shares, chosen)
    return compute_on_gpu(weights, x, shares, chosen)


def compute_on_gpu(weights: ExpertWeights, x: Tensor, shares: Tensor, chosen: Tensor) -> Tensor:
    """As `compute_experts`, by kernels that read the choice on the device."""
    x, shares, chosen = x.contiguous(), shares.contiguous(), chosen.contiguous()
    if len(x) <= FEW_TOKENS:
        return few_experts(weights, x, shares, chosen)
    if torch_groups(weights, x):
        return torch_grouped_experts(weights, x, shares, chosen)
    return triton_grouped_experts(weights, x, shares, chosen)
