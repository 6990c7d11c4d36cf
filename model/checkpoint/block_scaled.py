"""Tensors in eight-bit floating point with scales beside them, as if they were float32: HF's `fp8` checkpoints, and
Mistral's.

A matrix `….weight` of type e4m3 has its scales in `….weight_scale_inv` (Mistral: `….qscale_weight`): one for each
block of the matrix, or one for all of it; stacked experts one each. Knows no architectures. Source: HF's
`integrations/finegrained_fp8.py` and `convert_mistral4_weight_to_hf.py`; DeepSeek-V3's `inference/kernel.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.architectures.settings import Settings
from model.checkpoint.store import Store, Stored
from model.errors import CheckpointError
from model.fp8 import E4M3, dequantize_blocks

IGNORED = ("*.activation_scale", "*_activation_scale", "*.input_scale", "*.qscale_act")
"""What activations would be scaled by, were they eight-bit too."""


def hf_scales(name: str) -> str:
    """Where HF keeps the scales of a tensor."""
    return f"{name}_scale_inv"


def mistral_scales(name: str) -> str:
    """Where Mistral does."""
    return f"{name.removesuffix('weight')}qscale_weight"


class BlockScaledStore:
    """`Store` over another one. `block` None: one scale for each matrix. `scales` gives the name of a tensor's scales.
    Raises `CheckpointError` for scales that do not fit."""

    def __init__(self, store: Store, *, block: int | None, scales: Callable[[str], str] = hf_scales) -> None:
        self.name = store.name
        self._store = store
        self._block = block
        self._scaled = {
            name: scales(name)
            for name, stored in store.tensors.items()
            if stored.dtype == E4M3 and scales(name) in store.tensors
        }
        hidden = set(self._scaled.values())
        self.tensors = {
            name: Stored(stored.shape, torch.float32, stored.type_name) if name in self._scaled else stored
            for name, stored in store.tensors.items()
            if name not in hidden
        }
        for name in self._scaled:
            self._check(name)

    def read(self, name: str) -> Tensor:
        """The tensor as it is stored, or the float32 numbers that it stands for."""
        stored = self._store.read(name)
        if name not in self._scaled:
            return stored
        scales = self._store.read(self._scaled[name]).float()
        if self._block is None:
            return stored.float() * (scales if scales.dim() == 3 else scales.reshape(()))
        return dequantize_blocks(stored, scales, self._block)

    def _check(self, name: str) -> None:
        scales, block = self._scaled[name], self._block
        shape, found = self._store.tensors[name].shape, self._store.tensors[scales].shape
        if block is not None:
            fits = len(shape) == 2 and found == tuple(-(-size // block) for size in shape)
        else:
            fits = found in ((), (1,)) if len(shape) == 2 else len(shape) == 3 and found == (shape[0], 1, 1)
        if not fits:
            raise CheckpointError(
                f"Tensor {scales!r} of {self.name} has shape {found}, which are no scales for {shape}.",
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
