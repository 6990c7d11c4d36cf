"""Which layout a folder has: HF's, or Mistral's own."""

from __future__ import annotations

from pathlib import Path

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.checkpoint.mistral import MistralCheckpoint
from model.errors import CheckpointError


def open_folder(path: Path) -> Checkpoint:
    """HF's layout where both are there. Raises `CheckpointError` for a folder that is neither, or is damaged."""
    if (path / "config.json").exists():
        return HuggingFaceCheckpoint(path)
    if (path / "params.json").exists():
        return MistralCheckpoint(path)
    raise CheckpointError(
        f"{path} is no model: there is neither a config.json nor a params.json in it.",
        hint="Give a folder in HF's or Mistral's layout, or a .gguf file.",
    )
