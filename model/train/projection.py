"""Linear layers as training sees them: frozen or trained weights in bfloat16, what is learned in float32 beside them.

The low-rank update is merged into the weights once a step, so the forward pass is that of the plain model and the
backward pass gains four thin products a layer. Rounding to bfloat16 happens where serving rounds too: after merging.

Legend: N tokens, I inputs, O outputs, r rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.errors import UsageError
from model.linear import GROUP, dequantize_int4, quantize_int4

Rounding = Callable[[Tensor], Tensor]
"""Weights [O, I] to the nearest that a number format holds."""


def pick_rounding(name: str) -> Rounding | None:
    """The rounding of a number format: `none`, or `int4` (as `model.linear.Int4Linear` packs). Raises `UsageError`."""
    known: dict[str, Rounding | None] = {"none": None, "int4": _to_int4}
    if name not in known:
        raise UsageError(f"There is no rounding {name!r}.", hint=f"Use {' or '.join(known)}.")
    return known[name]


def _to_int4(weight: Tensor) -> Tensor:
    """Weights whose rows are no whole number of groups are left alone, as packing leaves them."""
    return weight if weight.shape[1] % GROUP else dequantize_int4(*quantize_int4(weight))


class _LowRank(torch.autograd.Function):
    """y = x Wᵀ with W = base + scale · B A already merged; gradients go to x, A and B, none to W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return functional.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b = ctx.saved_tensors  # [N, I], [O, I], [r, I], [O, r]
        grad = grads[0]  # [N, O]
        if not ctx.needs_input_grad[2]:  # frozen
            return grad @ weight, None, None, None, None
        inner = functional.linear(x, a.to(x.dtype))  # [N, r]
        grad_inner = grad @ b.to(grad.dtype)  # [N, r]
        grad_a = (grad_inner.T @ x).float().mul_(ctx.scale)
        grad_b = (grad.T @ inner).float().mul_(ctx.scale)
        return grad @ weight, None, grad_a, grad_b, None


class _Full(torch.autograd.Function):
    """y = x Wᵀ with a rounded copy of W; the gradient goes to x and to the float32 original."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, master: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return grads[0] @ weight, None, (grads[0].T @ x).float()


class LowRankProjection(nn.Module):
    """A frozen weight with a trained low-rank update: base + scale · B A.

    With `rounding` the forward and backward pass use the merged weight as it will be served, and the gradient is taken
    for that of the unrounded one (straight-through; Jacob et al. 2018): what is learned makes up for the rounding.
    """

    def __init__(
        self, weight: Tensor, *, rank: int, scale: float, generator: torch.Generator, rounding: Rounding | None = None
    ) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        bound = inputs**-0.5
        first = torch.empty(rank, inputs).uniform_(-bound, bound, generator=generator)
        self.a = nn.Parameter(first.to(weight.device))
        self.b = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))
        self.scale = scale
        self._rounding = rounding
        self.register_buffer("base", weight.detach().float(), persistent=False)
        self.register_buffer("weight", weight.detach().to(torch.bfloat16), persistent=False)
        self.base: Tensor
        self.weight: Tensor

    @torch.no_grad()
    def refresh(self) -> None:
        """Merge the update into the weight that the forward pass uses. Call after each optimizer step."""
        merged = torch.addmm(self.base, self.b, self.a, alpha=self.scale)
        self.weight.copy_(merged if self._rounding is None else self._rounding(merged))

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] to [N, O]."""
        out: Tensor = _LowRank.apply(x, self.weight, self.a, self.b, self.scale)  # type: ignore[no-untyped-call]
        return out


class FullProjection(nn.Module):
    """A weight that is trained whole, kept in float32 and used in bfloat16."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.master = nn.Parameter(weight.detach().float())
        self.register_buffer("weight", weight.detach().to(torch.bfloat16), persistent=False)
        self.weight: Tensor

    @torch.no_grad()
    def refresh(self) -> None:
        """Round the float32 weight into the one that the forward pass uses. Call after each optimizer step."""
        self.weight.copy_(self.master)

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] to [N, O]."""
        out: Tensor = _Full.apply(x, self.weight, self.master)  # type: ignore[no-untyped-call]
        return out
