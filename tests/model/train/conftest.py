"""A tiny corpus and a tiny random decoder: enough to train on in seconds."""

from __future__ import annotations

import pytest
import torch

from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig, RopeConfig
from model.decoder import Decoder
from model.train.corpus import SourceFile
from tests.model.train.tiny_corpus import MAIN, SCRIPT, SHAPES, VOCABULARY


@pytest.fixture
def corpus() -> list[SourceFile]:
    """Three files of two packages."""
    return [
        SourceFile("paint", "shapes.py", "python", SHAPES),
        SourceFile("paint", "main.py", "python", MAIN),
        SourceFile("walk", "src/walk.ts", "typescript", SCRIPT),
    ]


@pytest.fixture
def decoder() -> Decoder:
    """Two layers, grouped queries, tied embeddings, random weights."""
    torch.manual_seed(0)
    norm = NormConfig(epsilon=1e-5)
    attention = AttentionConfig(heads=4, kv_heads=2, head_dim=8, rope=RopeConfig(base=10000.0, dimensions=8))
    layer = LayerConfig(norm=norm, mixer=attention, mlp=MlpConfig(intermediate=48))
    config = ModelConfig(
        architecture="llama",
        hidden=32,
        vocabulary=VOCABULARY,
        context_tokens=4096,
        layers=(layer, layer),
        norm=norm,
        tied_embeddings=True,
    )
    return Decoder(config).eval()
