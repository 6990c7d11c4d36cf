"""From a path to a model that serves: which reader opens it, and which decoder computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from model.cached_decoder import CachedDecoder, Loaded, ModuleHead
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.config import ModelConfig
from model.device import free_bytes
from model.errors import ModelTooLargeError
from model.load import WeightTransform, load_served, pack
from model.merge import MixtureMerge
from model.on_device import LoadedOnDevice, check_format, fill_on_device, plan_slots, weigh
from model.packer import Packer, Quantize
from model.parallel.shard import Part, check_shardable
from model.tokenizer import Tokenizer
from model.tokenizer_folder import read_folder_tokenizer
from model.tokenizer_gguf import read_gguf_tokenizer

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModules:
    """A model that the reference modules compute."""

    decoder: CachedDecoder
    head: ModuleHead
    config: ModelConfig
    parameters: int
    quantization: str
    rows_agree: bool = False


def open_model(
    path: Path,
    *,
    dtype: torch.dtype,
    quantize: Quantize,
    transform: WeightTransform | None = None,
    progress: Callable[[float], None] | None = None,
    available_bytes: int | None = None,
    device: torch.device = _CPU,
) -> tuple[Loaded | LoadedOnDevice, Tokenizer]:
    """Plain models through packed weights, all others through the reference modules; on a GPU all through those.

    `transform` is for GGUF files of the llama family alone.

    `available_bytes` None: the memory that is free now. Raises `CheckpointError`; `ModelTooLargeError` before anything
    is allocated.
    """
    room_bytes = free_bytes(device) if available_bytes is None else available_bytes
    if device.type != "cpu":
        return open_on_device(
            path, device, dtype=dtype, quantize=quantize, transform=transform, progress=progress, room_bytes=room_bytes
        )
    if path.is_dir():
        return _open_folder(path, dtype=dtype, quantize=quantize, progress=progress, room_bytes=room_bytes)
    with GgufFile(path) as file:
        if isinstance(transform, MixtureMerge) or not is_packable(file):
            checkpoint: Checkpoint = GgufCheckpoint(file)
            if isinstance(transform, MixtureMerge):
                checkpoint = transform.over(checkpoint)
            loaded = _load(path, checkpoint, dtype=dtype, quantize=quantize, progress=progress, room_bytes=room_bytes)
            return loaded, read_gguf_tokenizer(file)
        checkpoint = GgufCheckpoint(file)
        _require_room(path, checkpoint.footprint_bytes(quantize=quantize, dtype=dtype), room_bytes)
        tokenizer = read_gguf_tokenizer(file)
        served = load_served(
            file,
            dtype=dtype,
            quantize=quantize,
            beside=checkpoint.pick_beside(quantize=quantize, dtype=dtype, room_bytes=room_bytes),
            transform=transform,
            progress=progress,
        )
        return served, tokenizer


def open_on_device(
    path: Path,
    device: torch.device,
    *,
    dtype: torch.dtype,
    quantize: Quantize,
    transform: WeightTransform | None = None,
    progress: Callable[[float], None] | None = None,
    room_bytes: int,
    part: Part | None = None,
) -> tuple[LoadedOnDevice, Tokenizer]:
    """Every layout, every architecture. With `part`, a part that adds up with the others'."""
    chosen = check_format(quantize, device)
    with _opened(path) as (checkpoint, read_tokenizer):
        checkpoint.check()
        tokenizer = read_tokenizer()
        if isinstance(transform, MixtureMerge):
            checkpoint, transform = transform.over(checkpoint), None
        config = checkpoint.config
        if part is not None:
            check_shardable(config, part.processes)
        needs = weigh(config, chosen, dtype, part=part)
        slots = plan_slots(config, chosen, dtype, room_bytes) if part is None else None
        if not slots:
            _require_room(path, needs.whole_bytes, room_bytes)
        else:  # experts stay in host memory
            _require_room(path, needs.expert_bytes, free_bytes(_CPU))
        weights = checkpoint.weights()
        if transform is not None:
            weights = ((name, transform(name, weight.float())) for name, weight in weights)
        if part is not None:
            weights = ((name, part.cut(config, name, weight)) for name, weight in weights)
        reference = fill_on_device(
            config, weights, device=device, dtype=dtype, quantize=chosen, slots=slots, progress=progress
        )
        if part is not None:
            part.join(reference)
        loaded = LoadedOnDevice(
            reference=reference, config=config, parameters=checkpoint.parameters, quantization=chosen
        )
        return loaded, tokenizer


def open_config(path: Path) -> ModelConfig:
    """The table of a model in any layout. Raises `CheckpointError`."""
    with _opened(path) as (checkpoint, _):
        return checkpoint.config


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Checkpoint, Callable[[], Tokenizer]]]:
    if path.is_dir():
        yield open_folder(path), partial(read_folder_tokenizer, path)
        return
    with GgufFile(path) as file:
        yield GgufCheckpoint(file), partial(read_gguf_tokenizer, file)


def is_packable(file: GgufFile) -> bool:
    """Is it one of those that packed weights serve: a dense model of the llama family?"""
    return file.metadata.get("general.architecture") == "llama" and not file.metadata.get("llama.expert_count")


def _open_folder(
    path: Path,
    *,
    dtype: torch.dtype,
    quantize: Quantize,
    progress: Callable[[float], None] | None,
    room_bytes: int,
) -> tuple[Loaded, Tokenizer]:
    checkpoint = open_folder(path)
    checkpoint.check()
    tokenizer = read_folder_tokenizer(path)
    loaded = _load(path, checkpoint, dtype=dtype, quantize=quantize, progress=progress, room_bytes=room_bytes)
    return loaded, tokenizer


def _load(
    path: Path,
    checkpoint: Checkpoint,
    *,
    dtype: torch.dtype,
    quantize: Quantize,
    progress: Callable[[float], None] | None,
    room_bytes: int,
) -> Loaded:
    """Packed weights where the model is plain, else the reference modules."""
    _require_room(path, checkpoint.footprint_bytes(quantize=quantize, dtype=dtype), room_bytes)
    config, parameters = checkpoint.config, checkpoint.parameters
    if config.is_plain:
        return pack(
            config,
            ((name, weight.float()) for name, weight in checkpoint.weights()),
            parameters=parameters,
            dtype=dtype,
            quantize=quantize,
            beside=checkpoint.pick_beside(quantize=quantize, dtype=dtype, room_bytes=room_bytes),
            progress=progress,
        )
    packer = Packer(dtype=dtype, quantize=Quantize.NONE if quantize is Quantize.AUTO else quantize)
    decoder = fill_decoder(config, checkpoint.weights(), dtype=dtype, packer=packer, progress=progress)
    return LoadedModules(
        decoder=CachedDecoder(decoder),
        head=ModuleHead(decoder),
        config=config,
        parameters=parameters,
        quantization=packer.used(),
    )


def _require_room(path: Path, needed_bytes: int, room_bytes: int) -> None:
    if needed_bytes > room_bytes:
        raise ModelTooLargeError(
            f"{path.name} needs at least {needed_bytes / 1e9:.1f} GB of memory for its weights; "
            f"{room_bytes / 1e9:.1f} GB are free.",
            hint="Use a smaller model, dtype bfloat16, a tighter format (quantize int8 or int4), or a server with more "
            "memory: give its URL as the model.",
        )
