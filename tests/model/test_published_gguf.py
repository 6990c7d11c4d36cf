"""GGUF files of published models by their keys and tensors, against the same models' settings in HF's layout.

The files have the keys that were seen in published ones, and tensors of true sizes that are holes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from model.architectures.settings import Settings
from model.architectures.table import find_architecture
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.config import ModelConfig
from model.details import read_details
from model.open_model import open_config
from tests.model import gguf_format
from tests.model.gguf_recurrent import recurrent_weights
from tests.model.published_hf import hf_model, stored_weights
from tests.model.published_table import Row, remove_files, rows, stretch

GGUF, HF = rows("gguf"), rows("hf")


@pytest.fixture(autouse=True)
def _without_remains(tmp_path: Path) -> Iterator[None]:
    yield
    remove_files(tmp_path)


def _tensors(row: Row, folder: Path) -> dict[str, Tensor]:
    """What converters make of HF's weights, and what older ones did otherwise (`layout` of the row)."""
    model = hf_model(HF[row.whole["model"]], folder)
    config = model.config.to_dict()
    weights = gguf_format._plain_experts(_stacked(stored_weights(model)), config)
    joint = {name: weights[name] for name in weights if "in_proj_qkvz" in name}
    found = gguf_format._renamed(recurrent_weights(weights, config), config)
    layout = row.whole.get("layout", ())
    if "joint delta" in layout:
        found = {name: one for name, one in found.items() if not re.search("attn_(qkv|gate)", name)}
        found |= gguf_format._renamed(joint, config)
    if "fused qkv" in layout:
        found = gguf_format._fused_qkv(found)
    if "split latent" in layout:
        found = gguf_format._split_latent(found, config)
    if "single experts" in layout:
        for name in [name for name in found if "_exps" in name]:
            stack = found.pop(name)
            found |= {name.replace("_exps", f".{index}"): expert for index, expert in enumerate(stack)}
    if "rope_freqs" in layout:
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        found = {"rope_freqs.weight": torch.empty(head_dim // 2, device="meta")} | found
    return found


def _stacked(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Experts that lie one by one, in one tensor under a name without their number."""
    found: dict[str, Tensor] = {}
    groups: dict[str, list[Tensor]] = {}
    for name, weight in weights.items():
        together = re.sub(r"(experts\.)\d+\.", r"\1", name)
        if together == name:
            found[name] = weight
        else:
            groups.setdefault(together, []).append(weight)
    return found | {name: torch.stack(each) for name, each in groups.items()}


def _write(row: Row, path: Path, tensors: dict[str, Tensor]) -> None:
    writer = gguf.GGUFWriter(path, row.whole["architecture"])
    for key, value in row.config.items():
        gguf_format._overwrite(writer, f"{writer.arch}.{key}", value)
    size = 0
    for name, tensor in tensors.items():
        writer.add_tensor_info(name, tuple(tensor.shape), np.dtype(np.float32), 4 * tensor.numel())
        size += -(-4 * tensor.numel() // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    start = -(-path.stat().st_size // 32) * 32
    if (first := next(iter(tensors))) == "rope_freqs.weight":  # llama.cpp divides by them
        with path.open("r+b") as file:
            file.seek(start)
            np.ones(tensors[first].numel(), dtype=np.float32).tofile(file)
    stretch(path, start + size)


def _expected(row: Row) -> ModelConfig:
    """What HF's settings of the model say, where GGUF says it too."""
    settings = Settings(HF[row.whole["model"]].config, "config.json")
    config = find_architecture(settings, ()).configure(settings)
    layers = config.layers
    if "window" in row.says:
        layers = tuple(replace(one, mixer=replace(one.attention, window=row.says["window"])) for one in layers)
    if "rope_freqs" in row.whole.get("layout", ()):  # ones here
        plain = (replace(one.attention.rope, factors=(1.0,) * (one.attention.head_dim // 2)) for one in layers)
        layers = tuple(
            replace(one, mixer=replace(one.attention, rope=rope)) for one, rope in zip(layers, plain, strict=True)
        )
    return replace(config, layers=layers, context_tokens=row.says.get("context", config.context_tokens))


def _assert_alike(ours: Any, theirs: Any, place: str = "") -> None:
    """Equal but for the rounding of float32."""
    if isinstance(theirs, dict):
        for key in theirs:
            _assert_alike(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), place
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            _assert_alike(*pair, f"{place}[{index}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-5), place
    else:
        assert ours == theirs, place


@pytest.mark.parametrize("name", GGUF)
def test_published_files_are_read_as_the_model_that_they_were_made_of(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = GGUF[name]
    monkeypatch.setattr(gguf_format, "_rows", lambda _, weight, __: weight)  # an order of rows changes no shape
    tensors = _tensors(row, tmp_path / "hf")
    assert len(tensors) == row.says.get("tensors", len(tensors))
    path = tmp_path / "published.gguf"
    _write(row, path, tensors)
    expected = _expected(row)
    with GgufFile(path) as file:
        checkpoint = GgufCheckpoint(file)
        checkpoint.check()
    ours, theirs = asdict(checkpoint.config), asdict(expected)
    for config in (ours, theirs):
        config.pop("architecture")
    _assert_alike(ours, theirs)
    _assert_alike(asdict(open_config(path)) | {"architecture": ""}, theirs)
    details = read_details(path)
    assert (details.architecture, details.problem) == (row.whole["architecture"], "")
    assert details.parameters == checkpoint.parameters
    assert details.context_tokens == expected.context_tokens
    assert details.memory_bytes["bfloat16"] < details.memory_bytes["float32"]
