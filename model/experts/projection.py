"""A projection in eight or four bits on a GPU: the kernel of single experts for few rows, a widened copy for many.

Legend: M rows, P inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.experts.few import FEW_TOKENS, TileShape, columns_for, has_triton, or_any, scaling, strides
from model.experts.weights import Stack


class QuantizedProjection(nn.Module):
    """`nn.Linear` over one matrix in eight or four bits: [..., P] to [..., O] of the type that came in."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        assert stack.scale is not None
        self.weight = nn.Buffer(stack.weight)
        self.scale = nn.Buffer(stack.scale)
        self.register_parameter("bias", None)
        self.bias: nn.Parameter | None

    @property
    def stack(self) -> Stack:
        """The matrix as a stack of one."""
        return Stack(weight=self.weight, scale=self.scale, bias=None if self.bias is None else self.bias[None])

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        product = few_rows(self.stack, rows) if has_kernel(rows) else many_rows(self.stack, rows)
        return product.view(*x.shape[:-1], -1)


def has_kernel(x: Tensor) -> bool:
    """Are these rows [M, P] few, on a GPU, and can kernels be compiled for it?"""
    return x.is_cuda and len(x) <= FEW_TOKENS and has_triton()


def many_rows(stack: Stack, x: Tensor) -> Tensor:
    """x [M, P] to [M, O]: the matrix is widened first, which pays for itself over many rows."""
    return functional.linear(x, stack.matrix(0, x.dtype), stack.bias_of(0, x.dtype))


def few_rows(stack: Stack, x: Tensor, *, shape: TileShape | None = None) -> Tensor:
    """x [M, P] to [M, O]: each row as a token whose one expert is the matrix."""
    from model.experts.few_kernels import down_kernel

    shape = shape or TileShape()
    outputs, inputs = stack.weight.shape[1], stack.inputs
    x = x.contiguous()
    product = torch.empty(len(x), outputs, dtype=torch.float32, device=x.device)
    down_kernel[(len(x), -(-outputs // shape.rows))](
        x,
        torch.zeros(len(x), dtype=torch.int64, device=x.device),
        torch.ones(len(x), device=x.device),
        stack.weight,
        *or_any(x, stack.scale, stack.bias),
        product,
        outputs,
        inputs,
        1,
        *strides(stack),
        *scaling(stack),
        BIASED=stack.bias is not None,
        ROWS=shape.rows,
        COLUMNS=columns_for(inputs, shape.columns),
        num_warps=shape.warps,
    )
    return product.to(x.dtype)
