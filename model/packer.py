"""Which number format each matrix is served in, and what that takes in memory. Knows no layers and no files.

`none` keeps plain weights. `int8`, `int4`, `fp8` (a scale for each output) and `fp8-block` (one for each 128 × 128)
pack every projection and expert. `auto` packs to int4 what the checkpoint already holds on such a grid, which loses
next to nothing, and the rest to int8; models that the reference modules compute it leaves plain. Routers, norms,
embeddings and what is small and decides much are never packed.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from enum import Enum, StrEnum
from math import prod

import torch
from torch import Tensor

from model.errors import UsageError
from model.fp8 import BLOCK, Fp8Linear
from model.head import ExactHead, Head, ScreenedHead
from model.linear import (
    Int4Linear,
    Int8Linear,
    Linear,
    PackedLinear,
    PlainLinear,
    WidenedInt4,
    dequantize_int4,
    four_bit_steps,
    int4_fits,
    quantize_int4,
)


class Quantize(StrEnum):
    """How projections are stored for serving. See the module's docstring."""

    AUTO = "auto"
    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"
    FP8 = "fp8"
    FP8_BLOCK = "fp8-block"


class Beside(Enum):
    """What packed integers have beside them for many rows, the fastest first."""

    COPIES = "plain copies"
    PAIRS = "int4 once more, in an order in which it is made plain a piece at a time; int8 needs nothing for that"
    NOTHING = "nothing: the kernel for few rows does it, in int4 at a third of the speed"


PACKED_BYTES: Mapping[Quantize, float] = {
    Quantize.INT8: 1.0,
    Quantize.INT4: 0.625,
    Quantize.FP8: 1.0,
    Quantize.FP8_BLOCK: 1.0,
}
"""Memory for a packed weight, its part of the scales included."""
_PAIR_BYTES: Mapping[Quantize, float] = {Quantize.INT4: 0.5}
_EIGHT_BIT_FLOATS = (Quantize.FP8, Quantize.FP8_BLOCK)
_KEPT = ("kv_up_proj.weight", "beta_proj.weight", "step_proj.weight")
"""Projections that stay plain: one is cut and put elsewhere (latent attention), two steer how fast a state fades."""


def is_packed(name: str) -> bool:
    """Is a decoder's weight of this name one that formats apply to: a projection of a layer, or experts' stack?"""
    return name.startswith("layers.") and name.endswith(("_proj.weight", "_proj")) and not name.endswith(_KEPT)


def footprint_bytes(
    shapes: Mapping[str, tuple[int, ...]], *, quantize: Quantize, dtype: torch.dtype, beside: Beside
) -> int:
    """Memory for a decoder's weights."""
    each = PACKED_BYTES.get(quantize, float(dtype.itemsize))
    if beside is Beside.PAIRS:
        each += _PAIR_BYTES.get(quantize, 0.0)
    elif beside is Beside.COPIES and quantize in (Quantize.INT8, Quantize.INT4):
        each += dtype.itemsize
    return int(sum(prod(shape) * (each if is_packed(name) else dtype.itemsize) for name, shape in shapes.items()))


def pick_quantize(name: str) -> Quantize:
    """A number format by name. Raises `UsageError`."""
    if name not in set(Quantize):
        raise UsageError(f"There is no quantization {name!r}.", hint=f"Use {', '.join(Quantize)}.")
    return Quantize(name)


class Packer:
    """Chooses and makes the stored form of each matrix. `dtype` is what is computed in where formats leave a choice."""

    def __init__(self, *, dtype: torch.dtype, quantize: Quantize, beside: Beside = Beside.COPIES) -> None:
        self._dtype = dtype
        self._quantize = quantize
        self._beside = beside
        self._used: set[str] = set()

    def linear(self, weight: Tensor) -> Linear:
        """A packed matrix for few rows and a plain one for many, or one of them for both; float32 [N, K] in."""
        quantized = self._four_bits(weight)
        if quantized is not None:
            few = Int4Linear(weight, quantized=quantized)
            if self._beside is Beside.NOTHING:
                return few
            if self._beside is Beside.PAIRS:
                return PackedLinear(few, WidenedInt4(*quantized))
            if self._quantize is Quantize.INT4:
                # Prompts are read with the weights that answers are written with: rounded to the same grid. What
                # `auto` packs lies on that grid already, but for the rounding of scales.
                weight = dequantize_int4(*quantized)
            return PackedLinear(few, PlainLinear(weight.to(self._dtype)))
        packed = self.packed(weight)
        if packed is None:
            return PlainLinear(weight.to(self._dtype))
        if self._quantize in _EIGHT_BIT_FLOATS or self._beside is not Beside.COPIES:
            return packed  # it is the plain product already, or becomes it
        return PackedLinear(packed, PlainLinear(weight.to(self._dtype)))

    def packed(self, weight: Tensor) -> Linear | None:
        """The packed matrix alone; None where weights stay plain."""
        if self._quantize is Quantize.NONE:
            return None
        if self._quantize in _EIGHT_BIT_FLOATS:
            self._used.add(self._quantize)
            block = BLOCK if self._quantize is Quantize.FP8_BLOCK else None
            return Fp8Linear(weight, dtype=self._dtype, block=block)
        quantized = self._four_bits(weight)
        if quantized is not None:
            return Int4Linear(weight, quantized=quantized)
        self._used.add("int8")
        return Int8Linear(weight)

    def head(self, weight: Tensor, stored: Tensor) -> Head:
        """A head's errors are mended by its second look, so `auto` packs it as tightly as the kernel can.

        `stored` is the weight as it is kept, so that tied embeddings are kept once.
        """
        if self._quantize is Quantize.NONE or self._quantize in _EIGHT_BIT_FLOATS:
            return ExactHead(stored)
        if self._quantize is not Quantize.INT8 and int4_fits(weight) and _has_int4_kernel():
            return ScreenedHead(Int4Linear(weight), stored)
        return ScreenedHead(Int8Linear(weight), stored)

    def _four_bits(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """What `quantize_int4` gives, where the matrix is to be int4."""
        asked = self._quantize is Quantize.INT4
        if not int4_fits(weight) or not (asked or (self._quantize is Quantize.AUTO and _has_int4_kernel())):
            return None
        steps = four_bit_steps(weight)
        if steps is None and not asked:
            return None
        self._used.add("int4")
        return quantize_int4(weight, steps=steps)

    def used(self) -> str:
        """The formats that were chosen, such as "int4+int8", or "none"."""
        return "+".join(sorted(self._used)) or "none"


def _has_int4_kernel() -> bool:
    """Aten vectorizes its int4 kernel on x86 alone; elsewhere it works, slowly."""
    return platform.machine().lower() in ("x86_64", "amd64") and bool(torch.cpu._is_avx2_supported())
