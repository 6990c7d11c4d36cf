"""The tokenizer of a folder, in whichever form it has one."""

from __future__ import annotations

from pathlib import Path

from model.sentencepiece import read_sentencepiece
from model.tekken import read_tekken
from model.tokenizer import Tokenizer
from model.tokenizer_json import read_tokenizer_json


def has_tokenizer(folder: Path) -> bool:
    """Is there a file that `read_folder_tokenizer` reads?"""
    return any((folder / name).exists() for name in ("tokenizer.json", "tekken.json")) or bool(_models(folder))


def read_folder_tokenizer(folder: Path) -> Tokenizer:
    """`tokenizer.json` where there is one, else `tekken.json`, else `tokenizer.model` or the newest of its versions.

    Raises `CheckpointError`.
    """
    if not (folder / "tokenizer.json").exists():
        if (folder / "tekken.json").exists():
            return read_tekken(folder / "tekken.json")
        if found := _models(folder):
            return read_sentencepiece(found[-1])
    return read_tokenizer_json(folder)


def _models(folder: Path) -> list[Path]:
    return sorted(folder.glob("tokenizer.model*"))
