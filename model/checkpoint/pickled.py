"""PyTorch's pickled weights (`.pth`): tensors alone, mapped into memory. A file that would run code is refused."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.checkpoint.store import Stored
from model.errors import CheckpointError


class PickleStore:
    """The tensors of several files, as if they were one. Raises `CheckpointError` for damage, and for code."""

    def __init__(self, paths: Sequence[Path], *, name: str) -> None:
        self.name = name
        self._tensors: dict[str, Tensor] = {}
        for path in paths:
            for key, tensor in _load(path).items():
                if key in self._tensors:
                    raise CheckpointError(
                        f"Tensor {key!r} of {name} is in two files, {path.name} among them.",
                        hint="Files that were split for several GPUs must be joined first.",
                    )
                self._tensors[key] = tensor
        self.tensors = {
            key: Stored(tuple(tensor.shape), tensor.dtype, str(tensor.dtype).removeprefix("torch."))
            for key, tensor in self._tensors.items()
        }

    def read(self, name: str) -> Tensor:
        """The tensor as it is stored; its memory is the mapped file's until it is copied."""
        if name not in self._tensors:
            raise CheckpointError(
                f"{self.name} has no tensor {name!r}.", hint="The model is incomplete; fetch it again."
            )
        return self._tensors[name]


def _load(path: Path) -> dict[str, Tensor]:
    try:
        value = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} holds more than tensors: loading it would run code, or it is damaged.",
            hint="Use the model in safetensors form, or from a source that you trust.",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        if "unable to mmap" in str(error):
            raise CheckpointError(
                f"{path.name} is larger than the memory of this machine, into which it would be mapped.",
                hint="Use the model in safetensors form, of which a part is read at a time.",
            ) from error
        raise CheckpointError(
            f"{path.name} is truncated or damaged ({error}).", hint="Fetch the file again."
        ) from error
    if not isinstance(value, dict) or not all(isinstance(part, Tensor) for part in value.values()):
        raise CheckpointError(f"{path.name} is no table of tensors.", hint="Give a folder with a model's weights.")
    return value
