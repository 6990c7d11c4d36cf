"""Loading goes tensor by tensor: what was read is let go before the next, in every layout, and the bar moves."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.checkpoint import gguf, safetensors
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.errors import CheckpointError
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


class _Small:
    """A machine on which no file can be mapped as torch does it."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real = real

    def __call__(self, path: Path, **options: Any) -> Any:
        if options.get("framework") == "pt" or "mmap" in options:
            raise RuntimeError(f"unable to mmap 960000000096 bytes from file <{path}>: Cannot allocate memory (12)")
        return self._real(path, **options)


def test_a_file_larger_than_the_memory_is_read_tensor_by_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.float8_e4m3fn)
    wanted = {str(kind): (torch.rand(5, 3) * 9).to(kind) for kind in kinds}
    wanted |= {"none": torch.zeros(0, 3), "one": torch.tensor(7.5)}
    save_file(wanted, tmp_path / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(safetensors, "safe_open", _Small(safe_open))
    store = safetensors.SafetensorsStore([tmp_path / "model.safetensors"], name="large")
    assert store.tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        found = store.read(name)
        assert (found.shape, found.dtype) == (tensor.shape, tensor.dtype)
        assert torch.equal(found.double(), tensor.double())


def test_pickled_weights_larger_than_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mixtral"]), tmp_path / "mistral", pickled=True)
    monkeypatch.setattr(torch, "load", _Small(torch.load))
    with pytest.raises(CheckpointError, match="larger than the memory") as caught:
        open_folder(folder)
    assert "safetensors" in caught.value.hint


def test_a_gguf_file_larger_than_the_memory_is_read_tensor_by_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(write_hf(tmp_path / "hf", CASES["phi-2"]), tmp_path / "tiny.gguf")
    with GgufFile(path) as file:
        wanted = {name: file.read(name) for name in file.tensors}

    def small(number: int, length: int, *, access: int) -> mmap.mmap:
        if access != mmap.ACCESS_READ:
            raise OSError(12, "Cannot allocate memory")
        return mmap.mmap(number, length, access=access)

    monkeypatch.setattr(gguf, "mmap", SimpleNamespace(**(vars(mmap) | {"mmap": small})))
    with GgufFile(path) as file:
        found = {name: file.read(name) for name in file.tensors}
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor)
        found[name].zero_()  # memory of its own
