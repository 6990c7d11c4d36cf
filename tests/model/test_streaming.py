"""Loading goes tensor by tensor: what was read is let go before the next, in every layout, and the bar moves."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.load import pack
from model.packer import Packer, Quantize
from tests.model.gguf_format import write_gguf
from tests.model.mistral_format import write_mistral
from tests.model.tiny_hf import CASES, write_hf


class Watched:
    """Hands on weights, and counts how many of those handed on are still held when the next is asked for."""

    def __init__(self) -> None:
        self.most = 0
        self._given: list[weakref.ref[Tensor]] = []

    def pass_on(self, weights: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        for name, weight in weights:
            held = sum(given() is not None for given in self._given)
            self.most = max(self.most, held)
            self._given.append(weakref.ref(weight))
            row = (name, weight)
            del weight  # a generator's own names would hold it
            yield row
            del row


@pytest.fixture(params=["hf", "hf shards", "mistral", "gguf"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkpoint]:
    """Pickled weights are not among them: they lie in the mapped file, as long as it is open."""
    source = write_hf(tmp_path / "hf", CASES["mixtral"], shard="60KB" if request.param == "hf shards" else "50GB")
    if request.param == "gguf":
        with GgufFile(write_gguf(source, tmp_path / "tiny.gguf")) as file:
            yield GgufCheckpoint(file)
    elif request.param == "mistral":
        yield open_folder(write_mistral(source, tmp_path / "mistral"))
    else:
        yield open_folder(source)


@pytest.mark.parametrize("packed", [False, True])
def test_one_weight_is_held_beside_the_decoders_own(packed: bool, checkpoint: Checkpoint) -> None:
    watched, seen = Watched(), list[float]()
    packer = Packer(dtype=torch.bfloat16, quantize=Quantize.INT8) if packed else None
    weights = watched.pass_on(checkpoint.weights())
    fill_decoder(checkpoint.config, weights, dtype=torch.bfloat16, packer=packer, progress=seen.append)
    assert watched.most <= 1  # the last one, under the loop's own name
    assert len(seen) > 20
    assert seen == sorted(set(seen))
    assert seen[-1] == 1.0


def test_packed_models_hold_one_layer_beside_their_own(tmp_path: Path) -> None:
    checkpoint = open_folder(write_hf(tmp_path / "hf", CASES["llama-2"]))
    watched, seen = Watched(), list[float]()
    weights = watched.pass_on((name, weight.float()) for name, weight in checkpoint.weights())
    parameters = checkpoint.parameters
    pack(
        checkpoint.config,
        weights,
        parameters=parameters,
        dtype=torch.bfloat16,
        quantize=Quantize.INT8,
        progress=seen.append,
    )
    assert watched.most <= 2 * 9 + 2  # nine weights a layer, those before while they are gathered, embedding, the next
    assert seen[-1] == 1.0
