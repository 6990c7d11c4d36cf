"""Tensors in eight-bit floating point with scales beside them, as if they were float32: HF's `fp8` checkpoints.

A matrix `….weight` of type e4m3 has its scales in `….weight_scale_inv`: one for each block of the matrix, or one for
all of it. Knows no architectures. Source: HF's `integrations/finegrained_fp8.py`; DeepSeek-V3's `inference/kernel.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.architectures.settings import Settings
from model.checkpoint.store import Store, Stored
from model.errors import CheckpointError
from model.fp8 import E4M3, dequantize_blocks

_SCALES = "_scale_inv"
IGNORED = ("*.activation_scale", "*.input_scale")
"""What activations would be scaled by, were they eight-bit too."""


class BlockScaledStore:
    """`Store` over another one. `block` None: one scale for each matrix. Raises `CheckpointError` for scales that do
    not fit."""

    def __init__(self, store: Store, *, block: int | None) -> None:
        self.name = store.name
        self._store = store
        self._block = block
        self._scaled = {
            name for name, stored in store.tensors.items() if stored.dtype == E4M3 and name + _SCALES in store.tensors
        }
        self.tensors = {
            name: Stored(stored.shape, torch.float32, stored.type_name) if name in self._scaled else stored
            for name, stored in store.tensors.items()
            if name.removesuffix(_SCALES) not in self._scaled or name in self._scaled
        }
        for name in self._scaled:
            self._check(name)

    def read(self, name: str) -> Tensor:
        """The tensor as it is stored, or the float32 numbers that it stands for."""
        stored = self._store.read(name)
        if name not in self._scaled:
            return stored
        scales = self._store.read(name + _SCALES).float()
        if self._block is None:
            return stored.float() * scales.reshape(())
        return dequantize_blocks(stored, scales, self._block)

    def _check(self, name: str) -> None:
        shape, found = self._store.tensors[name].shape, self._store.tensors[name + _SCALES].shape
        block = self._block
        fits = found in ((), (1,)) if block is None else found == tuple(-(-size // block) for size in shape)
        if len(shape) != 2 or not fits:
            raise CheckpointError(
                f"Tensor {name + _SCALES!r} of {self.name} has shape {found}, which are no scales for {shape}.",
                hint="The configuration and the weights are not of one model; fetch both again.",
            )


def block_size(quantized: Settings) -> int | None:
    """How many rows and columns share a scale; None: all. Raises `CheckpointError` for blocks that are no squares."""
    sizes = quantized.integers("weight_block_size")
    if not sizes:
        return None
    if len(sizes) != 2 or sizes[0] != sizes[1] or sizes[0] < 1:
        raise quantized.wrong("weight_block_size")
    return sizes[0]
