"""Safetensors files, one or a folder's shards: named tensors, mapped into memory and read when asked for.

A file larger than the memory is not mapped, but read tensor by tensor. Knows nothing of architectures. Source: the
format's description in the safetensors repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.checkpoint.store import Stored
from model.errors import CheckpointError

INDEX = "model.safetensors.index.json"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I32": torch.int32,
    "I64": torch.int64,
    "BOOL": torch.bool,
}


class SafetensorsStore:
    """The tensors of several files, as if they were one. Raises `CheckpointError` for damage."""

    def __init__(self, paths: Sequence[Path], *, name: str) -> None:
        self.name = name
        self.tensors: dict[str, Stored] = {}
        self._files: dict[str, Path] = {}
        self._mapped: dict[Path, Any] = {}
        self._starts: dict[Path, Mapping[str, int]] = {}
        for path in paths:
            opened = _open(path, "np")
            for key in opened.keys():  # noqa: SIM118 - the handle is no mapping
                if key in self.tensors:
                    raise CheckpointError(
                        f"Tensor {key!r} of {name} is in two files, {path.name} among them.",
                        hint="Remove files of other versions, or fetch the model again.",
                    )
                described = opened.get_slice(key)
                kind = described.get_dtype()
                self.tensors[key] = Stored(tuple(described.get_shape()), _DTYPES.get(kind), kind)
                self._files[key] = path

    def read(self, name: str) -> Tensor:
        """The tensor as it is stored; its memory is the mapped file's until it is copied, where the file is mapped."""
        if name not in self._files:
            raise CheckpointError(
                f"{self.name} has no tensor {name!r}.", hint="The model is incomplete; fetch it again."
            )
        path = self._files[name]
        if path not in self._mapped:
            self._mapped[path] = _map(path)
        if self._mapped[path] is None:
            return self._copied(path, name)
        tensor: Tensor = self._mapped[path].get_tensor(name)
        return tensor

    def _copied(self, path: Path, name: str) -> Tensor:
        if path not in self._starts:
            self._starts[path] = _starts(path)
        stored = self.tensors[name]
        assert stored.dtype is not None  # no other is asked for
        count, start = prod(stored.shape) * stored.dtype.itemsize, self._starts[path][name]
        if count == 0:
            return torch.empty(stored.shape, dtype=stored.dtype)
        return torch.from_numpy(np.fromfile(path, np.uint8, count, offset=start)).view(stored.dtype).view(stored.shape)


def shards(folder: Path) -> list[Path]:
    """The files that the folder's index names, or its single file. Raises `CheckpointError` when one is not there."""
    index = folder / INDEX
    if not index.exists():
        return [folder / "model.safetensors"] if (folder / "model.safetensors").exists() else []
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is damaged ({error}).", hint="Fetch the file again.") from error
    absent = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if absent:
        raise CheckpointError(
            f"{folder.name} lacks {len(absent)} of {len(names)} files that its index names, such as {absent[0]}.",
            hint="The download is not complete; fetch the model again.",
        )
    return [folder / name for name in names]


def _map(path: Path) -> Any:
    """The file as tensors in mapped memory; None where it is too large for that."""
    try:
        return _open(path, "pt")
    except RuntimeError:  # torch's word, since it maps memory that could be written to
        return None


def _starts(path: Path) -> dict[str, int]:
    """Where in a file that was opened before each tensor begins."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}


def _open(path: Path, framework: str) -> Any:
    """`np` reads the header alone, whatever the file's size."""
    try:
        return safe_open(path, framework=framework)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name} is truncated or damaged ({error}).", hint="Fetch the file again."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}.", hint="Check the file and its rights.") from error
