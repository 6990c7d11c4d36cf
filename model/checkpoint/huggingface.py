"""A folder as HF transformers writes it: `config.json`, and safetensors in one file or in shards."""

from __future__ import annotations

from pathlib import Path

from model.architectures.settings import Settings
from model.architectures.table import find_architecture
from model.checkpoint.checkpoint import Checkpoint, read_json
from model.checkpoint.safetensors import SafetensorsStore, shards
from model.errors import CheckpointError


class HuggingFaceCheckpoint(Checkpoint):
    """Raises `CheckpointError` for what is damaged, incomplete or not supported."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(read_json(folder / "config.json"), f"{folder.name}/config.json")
        _refuse_quantized(settings)
        files = shards(folder)
        if not files:
            raise CheckpointError(
                f"{folder.name} has a config.json but no model.safetensors.",
                hint="Fetch the weights in safetensors form; pickled weights of this layout are not read.",
            )
        store = SafetensorsStore(files, name=folder.name)
        architecture = find_architecture(settings, store.tensors)
        config = architecture.configure(settings)
        tied = ("lm_head.weight",) if config.tied_embeddings else ()
        ignored = architecture.names.ignored + tied
        super().__init__(folder, config, store=store, sources=architecture.sources(config), ignored=ignored)


def _refuse_quantized(settings: Settings) -> None:
    quantized = settings.section("quantization_config")
    method = quantized.text("quant_method", "unknown") if quantized is not None else "mxfp4"
    if method != "mxfp4":
        raise CheckpointError(
            f"{settings.source} says that the weights are quantized by {method!r}, which is not supported.",
            hint="Use the checkpoint in bfloat16, or a GGUF of it.",
        )
