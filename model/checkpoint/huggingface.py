"""A folder as HF transformers writes it: `config.json`, safetensors in one file or in shards, `tokenizer.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path

from torch import Tensor

from model.architectures.settings import Settings
from model.architectures.table import find_architecture
from model.checkpoint.safetensors import SafetensorsStore, shards
from model.checkpoint.shapes import weight_shapes
from model.checkpoint.store import check, read_weights
from model.errors import CheckpointError


class HuggingFaceCheckpoint:
    """An opened folder: its configuration, and its weights when asked for. Opening reads headers alone.

    Raises `CheckpointError` for what is damaged, incomplete or not supported.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        settings = Settings(read_json(folder / "config.json"), f"{folder.name}/config.json")
        _refuse_quantized(settings)
        files = shards(folder)
        if not files:
            raise CheckpointError(
                f"{folder.name} has a config.json but no model.safetensors.",
                hint="Fetch the weights in safetensors form; pickled weights of this layout are not read.",
            )
        self._store = SafetensorsStore(files, name=folder.name)
        architecture = find_architecture(settings, self._store.tensors)
        self.config = architecture.configure(settings)
        self._sources = architecture.sources(self.config)
        self._shapes = weight_shapes(self.config)
        tied = ("lm_head.weight",) if self.config.tied_embeddings else ()
        self._ignored = architecture.names.ignored + tied
        self.parameters = sum(prod(shape) for shape in self._shapes.values())
        self.number_formats = sorted({stored.type_name for stored in self._store.tensors.values()})
        self.size_bytes = sum(path.stat().st_size for path in files)

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
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).", hint="Fetch the file again.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is no JSON object.", hint="Fetch the file again.")
    return value


def _refuse_quantized(settings: Settings) -> None:
    quantized = settings.section("quantization_config")
    method = quantized.text("quant_method", "unknown") if quantized is not None else "mxfp4"
    if method != "mxfp4":
        raise CheckpointError(
            f"{settings.source} says that the weights are quantized by {method!r}, which is not supported.",
            hint="Use the checkpoint in bfloat16, or a GGUF of it.",
        )
