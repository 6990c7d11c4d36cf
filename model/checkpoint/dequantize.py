"""Number formats of GGUF tensors, each as a block layout and a function to float32.

Source: ggml's `ggml-common.h` (block structs) and `ggml-quants.c` (`dequantize_row_*`). Knows nothing of files.

Legend: N blocks of B bytes in, [N, W] float32 out, W weights a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_PIECE_WEIGHTS = 2**18
"""Decoded at once, so that what lies between stays in the processor's cache: three times as fast (measured)."""


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """`weights` numbers lie in `size_bytes` bytes; `decode` turns uint8 [N, size_bytes] into float32 [N, weights]."""

    name: str
    weights: int
    size_bytes: int
    decode: Callable[[Tensor], Tensor]

    def decoded(self, blocks: Tensor) -> Tensor:
        """As `decode`, piece by piece, in memory of its own."""
        found = torch.empty(len(blocks), self.weights)
        count = _PIECE_WEIGHTS // self.weights
        for start in range(0, len(blocks), count):
            into = found[start : start + count]
            into.copy_(self.decode(blocks[start : start + count]).view(into.shape))
        return found


def _as(blocks: Tensor, start: int, stop: int, dtype: torch.dtype) -> Tensor:
    """Bytes start:stop of each block read as `dtype`, in float32."""
    return blocks[:, start:stop].contiguous().view(dtype).float()


def _f32(blocks: Tensor) -> Tensor:
    return _as(blocks, 0, 4, torch.float32)


def _f16(blocks: Tensor) -> Tensor:
    return _as(blocks, 0, 2, torch.float16)


def _bf16(blocks: Tensor) -> Tensor:
    return _as(blocks, 0, 2, torch.bfloat16)


def _f64(blocks: Tensor) -> Tensor:
    return _as(blocks, 0, 8, torch.float64)


def _nibbles(packed: Tensor) -> Tensor:
    """uint8 [N, K] -> uint8 [N, 2K]: all low halves, then all high ones."""
    return torch.cat((packed & 15, packed >> 4), dim=1)


def _high_bits(blocks: Tensor, start: int) -> Tensor:
    """The fifth bits of 32 weights, from 4 bytes, as 0 or 16: uint8 [N, 32]."""
    bits = blocks[:, start : start + 4, None] >> torch.arange(8, dtype=torch.uint8)  # [N, 4, 8]
    return ((bits & 1) << 4).flatten(1)


def _q4_0(blocks: Tensor) -> Tensor:
    return (_nibbles(blocks[:, 2:18]).float() - 8) * _as(blocks, 0, 2, torch.float16)


def _q4_1(blocks: Tensor) -> Tensor:
    scale_min = _as(blocks, 0, 4, torch.float16)
    return _nibbles(blocks[:, 4:20]).float().mul_(scale_min[:, :1]).add_(scale_min[:, 1:])


def _q5_0(blocks: Tensor) -> Tensor:
    quants = _nibbles(blocks[:, 6:22]) | _high_bits(blocks, 2)
    return (quants.float() - 16) * _as(blocks, 0, 2, torch.float16)


def _q5_1(blocks: Tensor) -> Tensor:
    scale_min = _as(blocks, 0, 4, torch.float16)
    quants = _nibbles(blocks[:, 8:24]) | _high_bits(blocks, 4)
    return quants.float().mul_(scale_min[:, :1]).add_(scale_min[:, 1:])


def _q8_0(blocks: Tensor) -> Tensor:
    return blocks[:, 2:34].view(torch.int8).float().mul_(_as(blocks, 0, 2, torch.float16))


def _six_bit_scales(packed: Tensor) -> tuple[Tensor, Tensor]:
    """12 bytes of a Q4_K or Q5_K block -> 8 scales and 8 minimums of 6 bits each, float32 [N, 8]."""
    low, middle, high = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = torch.cat((low & 63, (high & 15) | ((low >> 6) << 4)), dim=1)
    minimums = torch.cat((middle & 63, (high >> 4) | ((middle >> 6) << 4)), dim=1)
    return scales.float(), minimums.float()


def _q4_k(blocks: Tensor) -> Tensor:
    scale_min = _as(blocks, 0, 4, torch.float16)  # [N, 2]
    scales, minimums = _six_bit_scales(blocks[:, 4:16])
    packed = blocks[:, 16:144].view(-1, 4, 32)
    quants = torch.stack((packed & 15, packed >> 4), dim=2).view(-1, 8, 32)  # [N, 8, 32]
    return _scaled(quants, scale_min, scales, minimums)


def _q5_k(blocks: Tensor) -> Tensor:
    scale_min = _as(blocks, 0, 4, torch.float16)
    scales, minimums = _six_bit_scales(blocks[:, 4:16])
    packed = blocks[:, 48:176].view(-1, 4, 32)
    low = torch.stack((packed & 15, packed >> 4), dim=2).view(-1, 8, 32)
    fifth = (blocks[:, None, 16:48] >> torch.arange(8, dtype=torch.uint8)[None, :, None]) & 1  # [N, 8, 32]
    return _scaled(low | (fifth << 4), scale_min, scales, minimums)


def _scaled(quants: Tensor, scale_min: Tensor, scales: Tensor, minimums: Tensor) -> Tensor:
    scale = (scale_min[:, :1] * scales)[:, :, None]
    minimum = (scale_min[:, 1:] * minimums)[:, :, None]
    return (quants.float() * scale - minimum).flatten(1)


def _q6_k(blocks: Tensor) -> Tensor:
    low = blocks[:, 0:128].view(-1, 2, 1, 64) >> torch.tensor([0, 4], dtype=torch.uint8)[:, None]
    high = blocks[:, 128:192].view(-1, 2, 1, 32) >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8)[:, None]
    quants = (low & 15).view(-1, 8, 32) | ((high & 3) << 4).view(-1, 8, 32)
    scales = blocks[:, 192:208].view(torch.int8).float() * _as(blocks, 208, 210, torch.float16)  # [N, 16]
    return ((quants.float() - 32).view(-1, 16, 16) * scales[:, :, None]).flatten(1)


def _two_bits(packed: Tensor) -> Tensor:
    """uint8 [N, 64] -> uint8 [N, 256]: of each run of 32 bytes first all lowest pairs of bits, then the next."""
    shifted = packed.view(-1, 2, 1, 32) >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8)[:, None]
    return (shifted & 3).flatten(1)


def _q2_k(blocks: Tensor) -> Tensor:
    scale_min = _as(blocks, 80, 84, torch.float16)  # [N, 2]
    scales, minimums = (blocks[:, 0:16] & 15).float(), (blocks[:, 0:16] >> 4).float()
    return _scaled(_two_bits(blocks[:, 16:80]).view(-1, 16, 16), scale_min, scales, minimums)


def _q3_k(blocks: Tensor) -> Tensor:
    third = (blocks[:, None, 0:32] >> torch.arange(8, dtype=torch.uint8)[None, :, None]) & 1  # [N, 8, 32]
    quants = _two_bits(blocks[:, 32:96]).float() - 4 * (1 - third.flatten(1).float())
    low, high = blocks[:, 96:104], blocks[:, 104:108]
    upper = (high[:, None, :] >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8)[None, :, None]) & 3  # [N, 4, 4]
    scales = (torch.cat((low & 15, low >> 4), dim=1) | (upper.flatten(1) << 4)).float() - 32  # [N, 16]
    scales = scales * _as(blocks, 108, 110, torch.float16)
    return (quants.view(-1, 16, 16) * scales[:, :, None]).flatten(1)


_E2M1_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
"""The sixteen values of the OCP Microscaling specification's E2M1, times two."""


def _mxfp4(blocks: Tensor) -> Tensor:
    levels = torch.tensor(_E2M1_DOUBLED, dtype=torch.float32)[_nibbles(blocks[:, 1:17]).int()]
    exponents = blocks[:, 0:1].int() - 128
    return levels * torch.ldexp(torch.ones_like(exponents, dtype=torch.float32), exponents)


FORMATS: dict[int, NumberFormat] = {
    0: NumberFormat("F32", 1, 4, _f32),
    1: NumberFormat("F16", 1, 2, _f16),
    2: NumberFormat("Q4_0", 32, 18, _q4_0),
    3: NumberFormat("Q4_1", 32, 20, _q4_1),
    6: NumberFormat("Q5_0", 32, 22, _q5_0),
    7: NumberFormat("Q5_1", 32, 24, _q5_1),
    8: NumberFormat("Q8_0", 32, 34, _q8_0),
    10: NumberFormat("Q2_K", 256, 84, _q2_k),
    11: NumberFormat("Q3_K", 256, 110, _q3_k),
    12: NumberFormat("Q4_K", 256, 144, _q4_k),
    13: NumberFormat("Q5_K", 256, 176, _q5_k),
    14: NumberFormat("Q6_K", 256, 210, _q6_k),
    28: NumberFormat("F64", 1, 8, _f64),
    30: NumberFormat("BF16", 1, 2, _bf16),
    39: NumberFormat("MXFP4", 32, 17, _mxfp4),
}
"""By ggml's type number."""
