"""GGUF models in several files, as the `gguf` package splits them, and parts that do not go together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_parts import parts_of
from model.details import read_details
from model.errors import CheckpointError
from model.kv_cache import KvCache
from model.load import Served
from model.open_model import open_model
from model.packer import Quantize
from tests.model.gguf_format import write_gguf
from tests.model.tiny_hf import CASES, VOCABULARY, hf_model, write_hf


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("m.gguf", ["m.gguf"]),
        ("q/m-00002-of-00002.gguf", ["q/m-00001-of-00002.gguf", "q/m-00002-of-00002.gguf"]),
        ("m-00003-of-00002.gguf", ["m-00003-of-00002.gguf"]),
        ("m-00000-of-00002.gguf", ["m-00000-of-00002.gguf"]),
        ("m-1-of-2.gguf", ["m-1-of-2.gguf"]),
    ],
)
def test_names_of_parts(name: str, parts: list[str]) -> None:
    assert parts_of(name) == parts


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The first of three."""
    return write_gguf(write_hf(tmp_path / "hf", CASES["llama-2"]), tmp_path / "tiny.gguf", part_tensors=12)


def test_they_are_one_model(first: Path, tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "hf", tmp_path / "whole.gguf")
    with GgufFile(first) as parts, GgufFile(whole) as one:
        assert parts.tensors.keys() == one.tensors.keys()
        assert all(torch.equal(parts.read(name), one.read(name)) for name in one.tensors)
        assert parts.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("tiny-*")) > one.size_bytes
    loaded, _ = open_model(first, dtype=torch.float32, quantize=Quantize.NONE)
    assert isinstance(loaded, Served)
    ids = torch.randint(0, VOCABULARY, (20,), generator=torch.Generator().manual_seed(1)).tolist()
    ours = loaded.head(loaded.decoder.forward(ids, KvCache(loaded.decoder.kv_shape)))[0]
    with torch.no_grad():
        theirs = hf_model(tmp_path / "hf")(torch.tensor([ids])).logits[0, -1]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    assert read_details(first).problem == ""


def test_a_part_that_is_not_there_is_named(first: Path) -> None:
    second, _ = sorted(first.parent.glob("tiny-*"))[1:]
    second.unlink()
    with pytest.raises(CheckpointError, match=f"3 parts, and {second.name} is not beside it") as caught:
        GgufFile(first)
    assert caught.value.hint


def test_another_part_or_another_name_does_not_do(first: Path) -> None:
    last = max(first.parent.glob("tiny-*"))
    with pytest.raises(CheckpointError, match=r"part 2 \(from 0\) of 3") as caught:
        GgufFile(last)
    assert caught.value.hint
    with pytest.raises(CheckpointError, match="its name does not go with that"):
        GgufFile(first.rename(first.with_name("mine.gguf")))


def test_a_part_that_is_there_twice_is_refused(first: Path) -> None:
    _, second, third = sorted(first.parent.glob("tiny-*"))
    shutil.copy(second, third)
    with pytest.raises(CheckpointError, match="and in a part before it") as caught:
        GgufFile(first)
    assert caught.value.hint


def test_damage_in_a_later_part_is_named(first: Path) -> None:
    last = max(first.parent.glob("tiny-*"))
    last.write_bytes(last.read_bytes()[:-3000])
    with pytest.raises(CheckpointError, match=f"{last.name} is truncated"):
        GgufFile(first)
