"""A folder as HF transformers writes it: `config.json`, and safetensors in one file or in shards."""

from __future__ import annotations

from pathlib import Path

from model.architectures.settings import Settings
from model.architectures.table import find_architecture
from model.checkpoint.block_scaled import IGNORED, BlockScaledStore, block_size
from model.checkpoint.checkpoint import Checkpoint, read_json
from model.checkpoint.safetensors import SafetensorsStore, shards
from model.checkpoint.store import Store
from model.errors import CheckpointError

_METHODS = ("mxfp4", "fp8")
"""Ways of storing weights in few bits that are read."""


class HuggingFaceCheckpoint(Checkpoint):
    """Raises `CheckpointError` for what is damaged, incomplete or not supported."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(read_json(folder / "config.json"), f"{folder.name}/config.json")
        quantized = settings.section("quantization_config")
        method = None if quantized is None else _method(settings, quantized)
        files = shards(folder)
        if not files:
            raise CheckpointError(
                f"{folder.name} has a config.json but no model.safetensors.",
                hint="Fetch the weights in safetensors form; pickled weights of this layout are not read.",
            )
        store: Store = SafetensorsStore(files, name=folder.name)
        if quantized is not None and method == "fp8":
            store = BlockScaledStore(store, block=block_size(quantized))
        architecture = find_architecture(settings, store.tensors)
        config = architecture.configure(settings)
        tied = (f"{architecture.names.head}.weight",) if config.tied_embeddings else ()
        ignored = (*architecture.names.ignored, *tied, *(IGNORED if method == "fp8" else ()))
        super().__init__(folder, config, store=store, sources=architecture.sources(config), ignored=ignored)


def _method(settings: Settings, quantized: Settings) -> str:
    method = quantized.text("quant_method", "unknown")
    if method not in _METHODS:
        raise CheckpointError(
            f"{settings.source} says that the weights are quantized by {method!r}, which is not supported.",
            hint="Use the checkpoint in bfloat16 or fp8, or a GGUF of it.",
        )
    return method
