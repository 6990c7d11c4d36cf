"""A model in a folder, opened: its configuration, and its weights when asked for. Opening reads headers alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from model.architectures.sources import Sources
from model.checkpoint.shapes import weight_shapes
from model.checkpoint.store import Store, check, read_weights
from model.config import ModelConfig
from model.errors import CheckpointError
from model.packer import Beside, Quantize, footprint_bytes

_FOUR_BIT = ("Q4_0", "Q4_1", "Q4_K")
"""Formats on a grid that `auto` packs to int4."""
_COPIES_SHARE = 0.5
"""Of the memory that is free: more would be a great deal for speed alone."""


class Checkpoint:
    """What every layout comes to. `ignored` are shell patterns of tensor names that are passed over."""

    def __init__(
        self, path: Path, config: ModelConfig, *, store: Store, sources: Sources, ignored: tuple[str, ...] = ()
    ) -> None:
        self.path = path
        self.config = config
        self._store = store
        self._sources = sources
        self._shapes = weight_shapes(config)
        self._ignored = ignored
        self.parameters = sum(prod(shape) for shape in self._shapes.values())

    @property
    def number_formats(self) -> tuple[str, ...]:
        """The types of the stored numbers, the one with most tensors first."""
        names = [stored.type_name for stored in self._store.tensors.values()]
        return tuple(sorted(set(names), key=names.count, reverse=True))

    def footprint_bytes(self, *, quantize: Quantize, dtype: torch.dtype, beside: Beside = Beside.NOTHING) -> int:
        """Memory for the weights as they are served on a CPU, the least there is by default: see `model.packer`."""
        plain = self.config.is_plain
        if quantize is Quantize.AUTO:
            packed = Quantize.INT4 if self.number_formats[0] in _FOUR_BIT else Quantize.INT8
            quantize = packed if plain else Quantize.NONE
        beside = beside if plain else Beside.NOTHING
        return footprint_bytes(self._shapes, quantize=quantize, dtype=dtype, beside=beside)

    def pick_beside(self, *, quantize: Quantize, dtype: torch.dtype, room_bytes: int) -> Beside:
        """The fastest that there is room for: copies where all then takes half of it at most."""
        for beside, share in ((Beside.COPIES, _COPIES_SHARE), (Beside.PAIRS, 1.0)):
            if self.footprint_bytes(quantize=quantize, dtype=dtype, beside=beside) <= room_bytes * share:
                return beside
        return Beside.NOTHING

    def check(self) -> None:
        """Raises `CheckpointError` for missing, unexpected and misshapen tensors."""
        check(self._store, self._sources, self._shapes, ignored=self._ignored)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """As `model.checkpoint.store.read_weights`."""
        return read_weights(self._store, self._sources, self._shapes, ignored=self._ignored)


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file. Raises `CheckpointError`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent.name} has no {path.name}.", hint="The folder is incomplete; fetch the model again."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).", hint="Fetch the file again.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is no JSON object.", hint="Fetch the file again.")
    return value
