"""What the processes of an engine have to agree on: memory, and how long they wait for each other."""

from __future__ import annotations

from datetime import timedelta

import torch

from model.device import free_bytes

PATIENCE = timedelta(minutes=10)
"""Longer than loading may differ, and than kernels take to compile."""


def room_bytes(device: torch.device, *, processes: int) -> int:
    """What one of them may take for its part: a GPU of its own, or its share of the machine."""
    return free_bytes(device) if device.type == "cuda" else free_bytes(device) // processes


def least(value: int, device: torch.device) -> int:
    """The least of what each process gives."""
    given = torch.tensor([value], device=device)
    torch.distributed.all_reduce(given, torch.distributed.ReduceOp.MIN)
    return int(given)
