"""Which device computes, what it has room for, and in which type it multiplies. Imports torch."""

from __future__ import annotations

import psutil
import torch

from model.errors import UsageError


def pick_device(name: str) -> torch.device:
    """`auto`: the first GPU that torch can use, else the CPU; `cpu`, `cuda` or `cuda:N`. Raises `UsageError`."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if name != "auto" and (kind != "cuda" or (number and not number.isdecimal())):
        raise UsageError(f"There is no kind of device {name!r}.", hint="Use auto, cpu, cuda or cuda:N.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise UsageError(
            f"There is no device {name}: torch can use {count} GPUs here.",
            hint="Use --device cpu, or install a CUDA build of torch and check that `nvidia-smi` shows the GPU.",
        )
    return torch.device("cuda", int(number or 0))


def pick_devices(name: str, processes: int) -> tuple[torch.device, ...]:
    """One for each of so many processes: GPUs from the first on, or the CPU for all. Raises `UsageError`."""
    if processes == 1:
        return (pick_device(name),)
    if ":" in name:
        raise UsageError(
            f"{name} is one device, for {processes} processes.", hint="Use --device cuda: each process takes its own."
        )
    if pick_device(name).type == "cpu":
        return (torch.device("cpu"),) * processes
    count = torch.cuda.device_count()
    if count < processes:
        raise UsageError(
            f"{processes} processes need a GPU each: torch can use {count} here.",
            hint="Use fewer processes, or CUDA_VISIBLE_DEVICES with more GPUs.",
        )
    return tuple(torch.device("cuda", number) for number in range(processes))


def settle_on(device: torch.device) -> None:
    """Have the calling thread, and no other, mean this GPU where kernels, streams and captures name none."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def free_bytes(device: torch.device) -> int:
    """Memory that nobody uses."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def device_dtype(device: torch.device, name: str) -> torch.dtype:
    """What a GPU computes in: `auto` is bfloat16 where it has units for it (Ampere and later), else float16.

    Raises `UsageError` for an unknown name.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name == "auto":
        modern = device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if modern else torch.float16
    if name not in known:
        raise UsageError(f"There is no dtype {name!r}.", hint="Use auto, float32 or bfloat16.")
    return known[name]
