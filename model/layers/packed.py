"""Packed matrices in the place of the reference modules' weights: projections, and experts' stacks. No gradients.

Legend: X experts, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from model.linear import Linear


class PackedProjection(nn.Module):
    """`nn.Linear` over a packed matrix: [..., K] to [..., N] of the type that came in."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.linear = linear
        self.register_parameter("bias", None)
        self.bias: nn.Parameter | None

    def forward(self, x: Tensor) -> Tensor:
        product = self.linear(x.reshape(-1, x.shape[-1])).to(x.dtype)
        if self.bias is not None:
            product = product + self.bias
        return product.view(*x.shape[:-1], -1)


class PackedStack(nn.Module):
    """One packed matrix for each expert."""

    def __init__(self, linears: Sequence[Linear]) -> None:
        super().__init__()
        self.linears = tuple(linears)

    def forward(self, expert: int, x: Tensor) -> Tensor:
        """One expert's product with rows [M, K]."""
        return self.linears[expert](x).to(x.dtype)
