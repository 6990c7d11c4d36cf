"""A model in parts, opened: the other processes started, one part loaded here and one in each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model.errors import UsageError
from model.load import WeightTransform
from model.on_device import LoadedOnDevice, check_format
from model.open_model import open_config, open_on_device
from model.packer import Quantize
from model.parallel.followers import Followers
from model.parallel.meeting import meet
from model.parallel.orders import Load
from model.parallel.room import PATIENCE, room_bytes
from model.parallel.shard import Part, check_shardable
from model.tokenizer import Tokenizer


def open_in_parts(
    path: Path,
    *,
    devices: Sequence[torch.device],
    dtype: torch.dtype,
    quantize: Quantize,
    adapter: Path | None = None,
    transform: WeightTransform | None = None,
    threads: int = 1,
    progress: Callable[[float], None] | None = None,
) -> tuple[LoadedOnDevice, Tokenizer]:
    """A process for each device, this one for the first. `transform` is what `adapter` does to weights.

    Raises what `open_on_device` raises, `UsageError` for a model that cannot be cut so, and `EngineUnavailableError`
    where a process dies.
    """
    processes = len(devices)
    check_format(quantize, devices[0])
    check_shardable(open_config(path), processes)
    if torch.distributed.is_initialized():
        raise UsageError(
            "This process shares a model or a training run with others already.",
            hint="Close that first, or use another process.",
        )
    followers = Followers(processes - 1)
    try:
        followers.expect_reports()
        load = Load(
            path=path,
            part=Part(rank=0, processes=processes),
            device=devices[0],
            dtype=dtype,
            quantize=quantize,
            adapter=adapter,
            threads=threads,
            place=followers.place,
        )
        parts = [Part(rank=rank, processes=processes) for rank in range(1, processes)]
        followers.tell_each([replace(load, part=part, device=devices[part.rank]) for part in parts])
        meet(load.place, rank=0, processes=processes, patience=PATIENCE, device=load.device)
        loaded, tokenizer = open_on_device(
            path,
            load.device,
            dtype=dtype,
            quantize=quantize,
            transform=transform,
            progress=progress,
            room_bytes=room_bytes(load.device, processes=processes),
            part=load.part,
        )
        followers.expect_reports()
    except BaseException:
        followers.stop()
        raise
    return replace(loaded, followers=followers), tokenizer
