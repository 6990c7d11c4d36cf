"""Every layout with every kind of damage, through the door that users take: one row an outcome, each named and hinted.

Deeper cases of each layout are in `test_huggingface`, `test_mistral`, `test_gguf` and `test_gguf_model`.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.details import read_details
from model.errors import CheckpointError
from model.open_model import open_model
from model.packer import Quantize
from tests.model.gguf_format import write_gguf
from tests.model.mistral_format import write_mistral
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny_hf import CASES, write_hf

Edit = Callable[[dict[str, Tensor]], object]
KEYS = {
    "hf": "model.layers.1.self_attn.k_proj.weight",
    "mistral": "layers.1.attention.wk.weight",
    "gguf": "blk.1.attn_k.weight",
}
LAYOUTS = ("hf", "hf shards", "mistral safetensors", "mistral pth", "gguf", "gguf packed")
"""HF's folder with one file and with several; Mistral's two; GGUF for the reference modules, and for packed weights."""


def _write(layout: str, folder: Path, *, edit: Edit = len, architecture: str = "") -> Path:
    case = "qwen2.5-coder" if layout == "gguf" else "mistral-nemo" if layout.startswith("mistral") else "llama-2"
    source = write_tokenizer(write_hf(folder / "hf", CASES[case], shard="60KB" if layout == "hf shards" else "50GB"))
    if layout.startswith("gguf"):
        return write_gguf(source, folder / "tiny.gguf", architecture=architecture, edit=edit)
    if layout.startswith("mistral"):
        target = write_mistral(source, folder / "mistral", pickled=layout.endswith("pth"))
        (target / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
        source = target
    if architecture:
        path = source / ("config.json" if layout.startswith("hf") else "params.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": architecture}))
    path = _weights(layout, source)
    weights = torch.load(path) if path.suffix == ".pth" else load_file(path)
    edit(weights)
    torch.save(weights, path) if path.suffix == ".pth" else save_file(weights, path, metadata={"format": "pt"})
    return source


def _weights(layout: str, path: Path) -> Path:
    """The file that holds the tensor which is damaged."""
    if layout == "hf shards":
        places = json.loads((path / "model.safetensors.index.json").read_text())["weight_map"]
        assert len(set(places.values())) > 2
        return path / str(places[KEYS["hf"]])
    return path if path.is_file() else next(iter([*path.glob("*.safetensors"), *path.glob("*.pth")]))


def _refused(path: Path) -> str:
    """What opening says; nothing of the weights was read."""
    seen: list[float] = []
    with pytest.raises(CheckpointError) as caught:
        open_model(path, dtype=torch.float32, quantize=Quantize.NONE, progress=seen.append)
    assert caught.value.hint
    assert not seen
    return caught.value.message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_undamaged_checkpoint_opens(layout: str, tmp_path: Path) -> None:
    path = _write(layout, tmp_path)
    open_model(path, dtype=torch.float32, quantize=Quantize.NONE)
    assert read_details(path).problem == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_file_is_named(layout: str, tmp_path: Path) -> None:
    path = _write(layout, tmp_path)
    damaged = _weights(layout, path)
    damaged.write_bytes(damaged.read_bytes()[:-3000])
    assert f"{damaged.name} is truncated" in _refused(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_unknown_architecture_is_named(layout: str, tmp_path: Path) -> None:
    assert "'rwkv7'" in _refused(_write(layout, tmp_path, architecture="rwkv7"))


def _key(layout: str) -> str:
    return KEYS[layout.split()[0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numbers_that_nobody_computes_with_are_named(layout: str, tmp_path: Path) -> None:
    key = _key(layout)
    said = _refused(_write(layout, tmp_path, edit=lambda tensors: tensors.update({key: tensors[key].int()})))
    kind = {"hf": "type I32", "mistral safetensors": "type I32", "mistral pth": "type int32"}
    assert key in said
    assert kind.get(layout.replace("hf shards", "hf"), "number format 26") in said


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_and_unexpected_tensors_are_named(layout: str, tmp_path: Path) -> None:
    key = _key(layout)
    stray = key.replace("1", "1.stray")
    said = _refused(_write(layout, tmp_path, edit=lambda tensors: tensors.update({stray: tensors.pop(key)})))
    assert f"missing {key}, unexpected {stray}" in said


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_shape_is_named(layout: str, tmp_path: Path) -> None:
    key = _key(layout)
    said = _refused(_write(layout, tmp_path, edit=lambda tensors: tensors.update({key: tensors[key][:-2]})))
    assert key in said
    assert "has shape" in said


@pytest.mark.parametrize("layout", ["hf", "mistral safetensors"])
@pytest.mark.parametrize("most", [1001, 2**62])
def test_more_layers_than_memory_has_room_for_are_refused_at_once(layout: str, most: int, tmp_path: Path) -> None:
    path = _write(layout, tmp_path)
    file, key = (path / "config.json", "num_hidden_layers") if layout == "hf" else (path / "params.json", "n_layers")
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: most}))
    assert f"{most} for {key}" in _refused(path)


DEEP = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("hf", "config.json"), ("hf", "tokenizer.json"), ("hf", "generation_config.json"),
        ("hf shards", "model.safetensors.index.json"), ("mistral safetensors", "params.json"),
    ],
)  # fmt: skip
def test_what_is_nested_without_end_is_damage(layout: str, name: str, tmp_path: Path) -> None:
    path = _write(layout, tmp_path)
    (path / name).write_text(DEEP)
    assert name in _refused(path)


class _Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


@pytest.mark.parametrize("layout", LAYOUTS[:4])
def test_a_pickle_with_code_is_refused_and_not_run(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where weights are pickled; elsewhere it is no file that is read, under whatever name."""
    path = _write(layout, tmp_path)
    if layout.endswith("pth"):
        torch.save({"norm.weight": _Command()}, _weights(layout, path))
    else:
        for file in path.glob("*.safetensors"):
            file.write_bytes(pickle.dumps({"norm.weight": _Command()}))
    said = _refused(path)
    assert ("would run code" if layout.endswith("pth") else "truncated or damaged") in said
    assert "code ran" not in capsys.readouterr().out


def test_a_pickle_that_calls_itself_gguf_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(pickle.dumps({"weight": _Command(), "rest": np.zeros(9)}))
    assert "not a GGUF file" in _refused(path)
    assert "code ran" not in capsys.readouterr().out
