"""Memory for what recurrent layers remember, in slots of one size: one for each running sequence, the others for states
to come back to. The counterpart of `model.paged.pool`. Knows no tokens and no policy.

Legend: L recurrent layers, S slots, K tokens under the convolution, C channels.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from model.errors import ModelTooLargeError
from model.kv_cache import KvShape
from model.paged.pool import zeros

SCRATCH_SLOT = 0
"""Padding reads and writes here, and leaves it as it is; it is never given to a sequence."""

_MOST_SLOTS = 33
"""Eight sequences in turn, and states of some ten texts: those of a model of 7 billion weights take 0.3 GB a slot."""
_LEAST_SLOTS = 2
_SHARE = 0.5
"""Of the room for all that is remembered, where layers remember keys and values too; more where that is less than the
least."""


class StatePool:
    """`slots` slots, handed out by number. Raises `ModelTooLargeError` where not even one can be had.

    Recurrent layer l remembers `windows[l]` [S, K − 1, C], the convolution's last inputs in the type that the model
    computes in, and `states[l]` [S, …], float32 as the reference has it. Without recurrent layers there is nothing.
    """

    def __init__(self, shape: KvShape, *, slots: int, device: torch.device) -> None:
        if shape.states and slots < _LEAST_SLOTS:
            raise ModelTooLargeError(
                "There is no memory left for the recurrent states of even one sequence.",
                hint="Use a smaller model, a tighter number format, or free memory on the device.",
            )
        self.layers = len(shape.states)
        self.slots = slots
        self.slot_bytes = slot_bytes(shape)
        one = shape.states[0] if shape.states else None
        window, state = ((), ()) if one is None else (one.window, one.state)
        self._windows = zeros((self.layers, slots, *window), dtype=shape.dtype, device=device)
        self._states = zeros((self.layers, slots, *state), dtype=torch.float32, device=device)
        self.windows: list[Tensor] = list(self._windows)
        self.states: list[Tensor] = list(self._states)
        self._free = list(range(slots - 1, SCRATCH_SLOT, -1))

    @property
    def free_slots(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """A slot that nobody else has, with whatever was there before. There must be one."""
        return self._free.pop()

    def give(self, slot: int) -> None:
        """Take a slot back."""
        assert slot != SCRATCH_SLOT
        self._free.append(slot)

    def clear(self, slot: int) -> None:
        """What is remembered before the first token: nothing."""
        self._windows[:, slot] = 0
        self._states[:, slot] = 0

    def copy(self, source: int, target: int) -> None:
        """One slot into another, for all layers."""
        self._windows[:, target] = self._windows[:, source]
        self._states[:, target] = self._states[:, source]


def slot_bytes(shape: KvShape) -> int:
    """What one sequence's states take."""
    return sum(shape.dtype.itemsize * prod(one.window) + 4 * prod(one.state) for one in shape.states)


def slots_within(shape: KvShape, room_bytes: int) -> int:
    """How many slots fit beside pages, but no more than are of use; the scratch slot counts."""
    if not shape.states:
        return 1
    fitting = room_bytes // slot_bytes(shape)
    shared = int(fitting * _SHARE) if shape.bytes_per_token else fitting
    return min(max(shared, min(fitting, _LEAST_SLOTS)), _MOST_SLOTS)


def least_bytes(shape: KvShape) -> int:
    """The room in which one sequence can run, whatever share of the memory is for what is remembered."""
    share = _SHARE if shape.bytes_per_token else 1.0
    return int(_LEAST_SLOTS * slot_bytes(shape) / share) if shape.states else 0
