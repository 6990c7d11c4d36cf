"""The tokenizer of a folder, in whichever form it has one."""

from __future__ import annotations

from pathlib import Path

from model.tekken import read_tekken
from model.tokenizer import Tokenizer
from model.tokenizer_json import read_tokenizer_json


def has_tokenizer(folder: Path) -> bool:
    """Is there a file that `read_folder_tokenizer` reads?"""
    return any((folder / name).exists() for name in ("tokenizer.json", "tekken.json"))


def read_folder_tokenizer(folder: Path) -> Tokenizer:
    """`tokenizer.json` where there is one, else `tekken.json`. Raises `CheckpointError`."""
    if not (folder / "tokenizer.json").exists() and (folder / "tekken.json").exists():
        return read_tekken(folder / "tekken.json")
    return read_tokenizer_json(folder)
