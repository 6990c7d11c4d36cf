"""Where the processes of one machine meet, for torch.distributed: a file, and the loopback interface alone."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path

import psutil
import torch


def meet(place: Path, *, rank: int, processes: int, patience: timedelta, device: torch.device | None = None) -> None:
    """Join the others in a group; `place` is a path that no file has yet. NCCL where `device` is a GPU, else gloo.

    `patience` is how long one waits for the others, here and in each exchange.
    """
    from torch import distributed

    on_gpu = device is not None and device.type == "cuda"
    interface = _loopback()
    if interface is not None:
        os.environ.setdefault("NCCL_SOCKET_IFNAME" if on_gpu else "GLOO_SOCKET_IFNAME", interface)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=place.as_uri(),
        rank=rank,
        world_size=processes,
        timeout=patience,
        device_id=device if on_gpu else None,
    )


def leave(*, whole: bool = True) -> None:
    """Leave the group, if there is one. Not `whole`: some are gone, for whom NCCL would wait."""
    from torch import distributed

    if distributed.is_initialized() and (whole or distributed.get_backend() == "gloo"):
        distributed.destroy_process_group()


def _loopback() -> str | None:
    """The name of the loopback interface; None on Windows, where gloo finds its own."""
    if os.name == "nt":
        return None
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.family == socket.AF_INET and one.address == "127.0.0.1" for one in addresses):
            return name
    return None
