"""Experts for many tokens, on a GPU: tokens sorted by expert, then one grouped matrix product for each projection.

Two ways: torch's own grouped product where it has one for the type and the device, else Triton kernels, which also
read packed weights. The host never looks at the choice: sizes are bounds that hold for any.

Legend: N tokens, K experts chosen for each, P = N · K pairs, X experts, D hidden, I intermediate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.experts.few import or_any, scaling, strides
from model.experts.weights import ExpertWeights, Stack
from model.layers.mlp import combine


@dataclass(frozen=True, slots=True)
class Sorting:
    """Pairs by expert: `pairs` [P] are their numbers in the order of the tokens, `experts` [P] whose they are, `tokens`
    [P] the rows that they read; `ends` [X] is where each expert's pairs end."""

    pairs: Tensor
    experts: Tensor
    tokens: Tensor
    ends: Tensor


def sort_by_expert(chosen: Tensor, experts: int) -> Sorting:
    """chosen [N, K] to its pairs, sorted; those of one expert stay in the order of the tokens."""
    found, pairs = chosen.flatten().sort(stable=True)
    ends = torch.searchsorted(found, torch.arange(experts, device=chosen.device), right=True)
    return Sorting(pairs, found, pairs // chosen.shape[1], ends)


@dataclass(frozen=True, slots=True)
class Tiles:
    """Each tile's expert, first row and end of rows, [T] each; those to spare have none."""

    expert: Tensor
    first: Tensor
    end: Tensor


def cut_tiles(ends: Tensor, *, pairs: int, rows: int) -> Tiles:
    """Tiles of up to `rows` pairs of one expert; as many as any choice of `pairs` pairs can need."""
    experts = len(ends)
    begins = functional.pad(ends[:-1], (1, 0))
    needed = (ends - begins + rows - 1) // rows  # [X]
    last = needed.cumsum(0)
    numbers = torch.arange(-(-pairs // rows) + min(experts, pairs), device=ends.device)
    expert = torch.searchsorted(last, numbers, right=True).clamp_max(experts - 1)
    first = begins[expert] + (numbers - (last - needed)[expert]) * rows
    return Tiles(expert, first, torch.minimum(ends[expert], first + rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedShape:
    """Pairs × outputs × inputs that a program multiplies at once. Not yet measured."""

    pairs: int = 64
    outputs: int = 64
    inputs: int = 64
    warps: int = 4
    stages: int = 3


def torch_groups(weights: ExpertWeights, x: Tensor) -> bool:
    """Has torch a grouped product for these? It takes bfloat16, on Hopper and later (and, slowly, on CPUs)."""
    stacks = (weights.gate, weights.up, weights.down)
    if any(stack.scale is not None or stack.weight.dtype is not torch.bfloat16 for stack in stacks):
        return False
    if x.dtype is not torch.bfloat16 or weights.hidden % 8 or weights.inner % 8:
        return False
    modern = x.device.type == "cpu" or torch.cuda.get_device_capability(x.device) >= (9, 0)
    return modern and hasattr(functional, "grouped_mm")


def torch_grouped_experts(weights: ExpertWeights, x: Tensor, shares: Tensor, chosen: Tensor) -> Tensor:
    """x [N, D], shares float32 [N, K], chosen [N, K] to [N, D], through `torch.nn.functional.grouped_mm`."""
    sorting = sort_by_expert(chosen, weights.experts)
    ends = sorting.ends.to(torch.int32)
    owners = sorting.experts.clamp_max(weights.experts - 1)

    def project(stack: Stack, rows: Tensor) -> Tensor:
        product: Tensor = functional.grouped_mm(rows, stack.weight.transpose(1, 2), offs=ends)
        return product if stack.bias is None else product + stack.bias[owners]

    read = x[sorting.tokens]
    inner = combine(weights.config, project(weights.gate, read), project(weights.up, read))
    answered = project(weights.down, inner).float() * shares.flatten()[sorting.pairs, None]
    answered = answered.masked_fill(sorting.experts[:, None] >= weights.experts, 0)  # nobody's rows are not computed
    parts = torch.empty_like(answered)
    parts[sorting.pairs] = answered
    return parts.view(*chosen.shape, -1).sum(1).to(x.dtype)


def triton_grouped_experts(
    weights: ExpertWeights, x: Tensor, shares: Tensor, chosen: Tensor, *, shape: GroupedShape | None = None
) -> Tensor:
    """As `torch_grouped_experts`, for every number format, with gate, up and activation in one kernel."""
    from model.experts.grouped_kernels import grouped_down_kernel, grouped_gate_up_kernel

    shape = shape or GroupedShape()
    sorting = sort_by_expert(chosen, weights.experts)
    pairs, inner_size, hidden = chosen.numel(), weights.inner, weights.hidden
    tiles = cut_tiles(sorting.ends, pairs=pairs, rows=shape.pairs)
    gate, up, down = weights.gate, weights.up, weights.down
    common = {
        "PRECISION": "ieee" if x.dtype is torch.float32 else "tf32",
        "WIDEN": x.device.type == "cpu" and x.dtype is torch.bfloat16,
        "M": shape.pairs,
        "N": shape.outputs,
        "num_warps": shape.warps,
        # Tiles of float32 take twice the shared memory.
        "num_stages": shape.stages if x.element_size() == 2 else 2,
    }
    inner = torch.empty(pairs, inner_size, dtype=x.dtype, device=x.device)
    grouped_gate_up_kernel[(len(tiles.expert), -(-inner_size // shape.outputs))](
        x,
        sorting.tokens,
        tiles.expert,
        tiles.first,
        tiles.end,
        gate.weight,
        up.weight,
        *or_any(x, gate.scale, up.scale, gate.bias, up.bias),
        inner,
        hidden,
        inner_size,
        x.stride(0),
        *strides(gate),
        *strides(up),
        *scaling(gate),
        BIASED=gate.bias is not None,
        ACTIVATION=weights.config.activation,
        K=shape.inputs,
        **common,
    )
    parts = torch.zeros(pairs, hidden, dtype=torch.float32, device=x.device)  # nobody's pairs are in no tile
    grouped_down_kernel[(len(tiles.expert), -(-hidden // shape.outputs))](
        inner,
        sorting.pairs,
        shares,
        tiles.expert,
        tiles.first,
        tiles.end,
        down.weight,
        *or_any(x, down.scale, down.bias),
        parts,
        hidden,
        inner_size,
        *strides(down),
        *scaling(down),
        BIASED=down.bias is not None,
        K=shape.inputs,
        **common,
    )
    return parts.view(*chosen.shape, hidden).sum(1).to(x.dtype)
