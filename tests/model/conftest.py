"""Fixtures of the model room: a tiny random checkpoint, and the embedded model where it has been fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model import hub
from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder
from model.decoder import Decoder
from tests.model.tiny import write_tiny

torch.set_num_threads(1)  # tiny models gain nothing by a second thread, and lose nine tenths where its core is taken


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama checkpoint in float32, tied embeddings, StarCoder's FIM tokens."""
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture
def tiny_file(tiny_path: Path) -> Iterator[GgufFile]:
    with GgufFile(tiny_path) as file:
        yield file


@pytest.fixture
def tiny_decoder(tiny_file: GgufFile) -> Decoder:
    """The reference decoder of the tiny checkpoint."""
    return load_decoder(tiny_file)


@pytest.fixture(scope="session")
def embedded_path() -> Path:
    """The embedded model's file, fetched on first use."""
    return hub.pull(hub.DEFAULT_MODEL)
