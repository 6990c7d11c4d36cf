"""Weight matrices for serving: plain, int8 and int4, behind one call. No gradients, no checkpoints.

CPU kernels of aten. The packed ones read few bytes and win while there are few rows; with many rows bfloat16 GEMM
wins. For those a packed matrix carries a second, plain copy, or is made plain again a piece at a time: at 128 rows that
takes a quarter longer in int8 and twice as long in int4 (measured), and hardly any memory.

Legend: M rows, K inputs, N outputs, B weights a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

GROUP = 32
"""Weights that share a scale in int4: the block of GGUF's Q4_0, Q4_1 and Q4_K, so that those lose hardly anything."""
_STEPS = 15
_GRID_SAMPLE = 64
_PIECE_WEIGHTS = 2**18
_PACKED_ROWS = 512
FEW_ROWS = 12
"""Up to here the packed kernels are the faster ones (measured on AVX-512 with bfloat16 GEMM)."""
_WIDENED_ROWS = 24
"""From here on making int8 plain a piece at a time is faster than its kernel (measured)."""
_INT8_RUN = 16


Product = Callable[[Tensor], Tensor]


class Linear(Protocol):
    """y = x Wᵀ for x [M, K] of any float type; y [M, N] in the type the weights compute in.

    `few` is the bare kernel for up to FEW_ROWS rows, for callers that have x in `few_dtype` already. Packed kernels
    give a row the same bits whatever rows stand beside it.
    """

    few: Product
    few_dtype: torch.dtype

    def __call__(self, x: Tensor) -> Tensor: ...


class PlainLinear:
    """Weights [N, K] as they are, float32 or bfloat16."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.few: Product = lambda x: functional.linear(x, weight)
        self.few_dtype = weight.dtype

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x.to(self.weight.dtype), self.weight)


class Int8Linear:
    """Int8 weights with a scale for each output, bfloat16 arithmetic."""

    def __init__(self, weight: Tensor) -> None:
        peak = weight.abs().amax(dim=1).clamp_min(1e-12)
        # The kernel wants bfloat16 scales: round first, so that the weights make up for it; 126 leaves room to.
        self.scales = (peak / 126).bfloat16()  # [N]
        self.weight = (weight / self.scales.float()[:, None]).round_().clamp_(-127, 127).to(torch.int8)
        # The kernel reads inputs sixteen at a time, and what lies beyond the last ones too.
        beyond = -weight.shape[1] % _INT8_RUN
        packed, scales = functional.pad(self.weight, (0, beyond)), self.scales
        self.weight = packed[:, : weight.shape[1]]
        self.few: Product = lambda x: torch._weight_int8pack_mm(x, packed, scales)
        if beyond:
            self.few = lambda x: torch._weight_int8pack_mm(functional.pad(x, (0, beyond)), packed, scales)
        self.few_dtype = torch.bfloat16

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16)
        if x.numel() < _WIDENED_ROWS * x.shape[-1]:
            return self.few(x)
        products = [functional.linear(x, self.weight[rows].to(x.dtype)) for rows in _pieces(self.weight)]
        return torch.cat(products, -1).mul_(self.scales)

    def dequantized(self) -> Tensor:
        """The weights that the kernel multiplies by, float32 [N, K]."""
        return self.weight.float() * self.scales.float()[:, None]


class Int4Linear:
    """Int4 weights with a scale and a zero for each group of 32, bfloat16 arithmetic.

    `quantized`: what `quantize_int4(weight)` gives, for who has it already.
    """

    def __init__(self, weight: Tensor, *, quantized: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        quants, scales, zeros = quantized or quantize_int4(weight)
        self.shape = weight.shape
        # The kernel's form is one of 64 rows behind the other, so that pieces of so many can be made alone.
        pieces = torch.split(quants, _PACKED_ROWS)
        packed = torch.cat([torch._convert_weight_to_int4pack_for_cpu(piece.int(), 1) for piece in pieces])
        scales_zeros = torch.stack((scales, zeros), dim=-1).transpose(0, 1).contiguous()  # [K / B, N, 2]
        self.few: Product = lambda x: torch._weight_int4pack_mm_for_cpu(x, packed, GROUP, scales_zeros)
        self.few_dtype = torch.bfloat16

    def __call__(self, x: Tensor) -> Tensor:
        return self.few(x.to(torch.bfloat16))


class WidenedInt4:
    """The same weights, for many rows: made plain a piece at a time. Half a byte each beside the kernel's own form."""

    def __init__(self, quants: Tensor, scales: Tensor, zeros: Tensor) -> None:
        low, high = quants.chunk(2, -1)
        self._pairs = low | high << 4  # uint8 [N, K / 2]: those of the first half of the inputs in the low bits
        self._scales, self._zeros = scales[..., None], zeros[..., None]
        self.few_dtype = torch.bfloat16
        self.few: Product = self

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16)
        return torch.cat([functional.linear(x, self._widened(rows)) for rows in _pieces(self._pairs)], -1)

    def _widened(self, rows: slice) -> Tensor:
        pairs = self._pairs[rows]
        quants = torch.cat((pairs & 15, pairs >> 4), -1).view(torch.int8).sub_(8)
        groups = quants.to(torch.bfloat16).view(len(pairs), -1, GROUP)
        return groups.mul_(self._scales[rows]).add_(self._zeros[rows]).view(len(pairs), -1)


class PackedLinear:
    """A packed matrix for few rows, a plain one for many."""

    def __init__(self, few: Linear, many: Linear) -> None:
        self._few, self._many = few, many
        self.few, self.few_dtype = few.few, few.few_dtype

    def __call__(self, x: Tensor) -> Tensor:
        return self._few(x) if x.shape[0] <= FEW_ROWS else self._many(x)


def rows_agree(product: Product, *, inputs: int, dtype: torch.dtype, rows: int) -> bool:
    """Does the kernel, on this machine, give a row the same bits alone and beside up to `rows` others?"""
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(0)).to(dtype)
    alone = torch.cat([product(row[None]) for row in x])
    return all(torch.equal(product(x[:count]), alone[:count]) for count in range(2, rows + 1))


def quantize_int4(weight: Tensor, *, group: int = GROUP, steps: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """[N, K] to uint8 quants 0 … 15 [N, K], bfloat16 scales and zeros [N, K / B]: w = (q − 8) · scale + zero.

    The grid of a group spans from its least to its greatest weight, in 15 steps as in Q4_1, or in `steps` [N, K / B].
    """
    outputs, inputs = weight.shape
    quants = torch.empty(outputs, inputs, dtype=torch.uint8, device=weight.device)
    scales = torch.empty(outputs, inputs // group, dtype=torch.bfloat16, device=weight.device)
    zeros = torch.empty_like(scales)
    for rows in _pieces(weight):
        groups = weight[rows].view(-1, inputs // group, group)
        low, high = groups.amin(-1), groups.amax(-1)  # five times as fast as `aminmax`
        scale = ((high - low) / (_STEPS if steps is None else steps[rows])).clamp_min(1e-12).bfloat16()
        zero = (low + 8 * scale.float()).bfloat16()
        places = groups - zero.float()[..., None]
        places = places.div_(scale.float()[..., None]).round_().add_(8).clamp_(0, _STEPS)
        quants[rows], scales[rows], zeros[rows] = places.view(-1, inputs).to(torch.uint8), scale, zero
    return quants, scales, zeros


def _pieces(weight: Tensor) -> Iterator[slice]:
    """Rows that fit into a processor's cache together."""
    count = max(1, _PIECE_WEIGHTS // weight.shape[1])
    return (slice(start, start + count) for start in range(0, len(weight), count))


def dequantize_int4(quants: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """The reference for `Int4Linear`: float32 [N, K]."""
    groups = quants.view(*scales.shape, -1).float() - 8
    return (groups * scales.float()[..., None] + zeros.float()[..., None]).view(quants.shape)


def four_bit_steps(weight: Tensor) -> Tensor | None:
    """Into how many steps the weights of each group cut the range between their least and greatest: 1 … 15 [N, K / B]
    where all lie on such grids, as those of GGUF's four-bit formats do; else None.

    A group of Q4_1 uses all its sixteen levels, one of Q4_0 or Q4_K may leave the outer ones out.
    """
    if _steps(weight[::_GRID_SAMPLE]) is None:
        return None
    found = [_steps(weight[rows]) for rows in _pieces(weight)]
    known = [steps for steps in found if steps is not None]
    return torch.cat(known) if len(known) == len(found) else None


def _steps(weight: Tensor) -> Tensor | None:
    groups = weight.reshape(-1, GROUP)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    shares = (groups - low).div_((high - low).clamp_min(1e-12))  # 0 … 1
    steps = torch.zeros(len(groups), dtype=torch.float32)
    left = torch.arange(len(groups))
    for count in range(_STEPS, 0, -1):
        places = shares * count
        fits = (places - places.round()).abs_().amax(-1) < 0.02
        steps[left[fits]] = count
        left, shares = left[~fits], shares[~fits]
        if not len(left):
            return steps.view(weight.shape[0], -1)
    return None


def int4_fits(weight: Tensor) -> bool:
    """Has the kernel a path for this shape?"""
    outputs, inputs = weight.shape
    return outputs % 64 == 0 and inputs % GROUP == 0
