"""The settings that models were published with, of their true sizes, against HF's classes and what is known of them.

The weights are files with holes: names, types and shapes are there, numbers are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.architectures.settings import Settings
from model.architectures.table import find_architecture
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.folder import open_folder
from model.checkpoint.store import Stored
from model.config import AttentionConfig, LayerConfig, ModelConfig, QueryGrowth, StateSpaceConfig
from model.details import read_details
from model.errors import CheckpointError
from tests.model.published_hf import differences, hf_model, stored_tensors, stored_weights
from tests.model.published_table import Row, Tensors, mistral_tensors, remove_files, rows, write_folder
from tests.model.tiny_hf import count_parameters

HF, MISTRAL = rows("hf"), rows("mistral")
REFUSED = [name for name, row in HF.items() if "refused" in row.whole]
NAMES = ("config.json", "model.safetensors")
MANY = 20_000
"""Tensors of which no file is written, to save time."""
KNOWN = {"parameters", "billions", "bytes", "tensors", "context", "tied", "projection", "base", "turning", "head_dim"}
KNOWN |= {"scale", "stretch", "magnitude", "window", "windows", "experts", "groups", "growth", "model"}


@pytest.fixture(autouse=True)
def _without_remains(tmp_path: Path) -> Iterator[None]:
    yield
    remove_files(tmp_path)


def _facts(config: ModelConfig) -> dict[str, Any]:
    """In the words of the table's `says`."""
    first = next((layer for layer in config.layers if layer.is_attention), None)
    routed = next((layer.mlp.router for layer in config.layers if layer.mlp.router is not None), None)
    facts: dict[str, Any] = {"context": config.context_tokens, "tied": config.tied_embeddings}
    if routed is not None:
        facts["experts"] = [routed.experts, routed.chosen, routed.normalize]
        facts["groups"] = [routed.groups, routed.groups_chosen]
    return facts | (_recurrent(config.layers[0]) if first is None else _attending(config, first.attention))


def _recurrent(layer: LayerConfig) -> dict[str, Any]:
    mixer = layer.mixer
    assert isinstance(mixer, StateSpaceConfig)
    return {"projection": mixer.inner + mixer.channels + mixer.heads}


def _attending(config: ModelConfig, one: AttentionConfig) -> dict[str, Any]:
    ropes = [layer.attention.rope for layer in config.layers if layer.is_attention]
    windows = [layer.attention.window for layer in config.layers if layer.is_attention]
    narrow = [window for window in windows if window is not None]
    return {
        "base": one.rope.base,
        "turning": one.rope.dimensions,
        "head_dim": one.head_dim,
        "scale": one.softmax_scale,
        "stretch": max(factor for rope in ropes for factor in rope.factors or (1.0,)),
        "magnitude": one.rope.scale,
        "window": next(iter(narrow), None),
        "windows": [len(narrow), max(narrow, default=None)],
        "growth": [one.growth.slope, one.growth.step_tokens] if isinstance(one.growth, QueryGrowth) else None,
    }


def _check_facts(row: Row, checkpoint: Checkpoint) -> None:
    facts = _facts(checkpoint.config) | {"parameters": checkpoint.parameters}
    assert set(row.says) <= KNOWN
    for key in row.says.keys() & facts:
        expected = row.says[key]
        assert facts[key] == (pytest.approx(expected) if isinstance(expected, float) else expected), key
    if "billions" in row.says:
        places = len(str(row.says["billions"]).partition(".")[2])
        assert round(checkpoint.parameters / 1e9, places) == row.says["billions"]


class _Described:
    """A `Store` that holds no numbers."""

    def __init__(self, tensors: Tensors) -> None:
        self.name = "described"
        self.tensors = {name: Stored(shape, torch.bfloat16, kind) for name, (kind, shape) in tensors.items()}

    def read(self, name: str) -> Tensor:
        raise AssertionError(name)


def _opened(row: Row, tensors: Tensors, folder: Path) -> Checkpoint:
    if len(tensors) < MANY or "quantization_config" in row.config:
        return open_folder(write_folder(folder, row.config, tensors, names=NAMES))
    settings, store = Settings(row.config, "config.json"), _Described(tensors)
    architecture = find_architecture(settings, store.tensors)
    config, ignored = architecture.configure(settings), architecture.names.ignored
    return Checkpoint(folder, config, store=store, sources=architecture.sources(config), ignored=ignored)


def _check_shown(folder: Path, checkpoint: Checkpoint, *, halves: bool) -> None:
    """What `tersely model show` says: two bytes a parameter in bfloat16, and less or little more in fewer bits."""
    details = read_details(folder)
    assert (details.parameters, details.problem) == (checkpoint.parameters, "")
    memory = {kind: size / details.parameters for kind, size in details.memory_bytes.items()}
    assert (memory["bfloat16"], memory["float32"]) == (2, 4)
    for kind, least, most in (("int4", 0.5, 3), ("int8", 1, 3.2), ("fp8", 1, 2)):
        assert least <= memory[kind] < most
    assert not halves or details.size_bytes == pytest.approx(2 * details.parameters, rel=1e-2)


@pytest.mark.parametrize("name", [name for name in HF if name not in REFUSED])
def test_published_settings_are_read_as_hf_reads_them(name: str, tmp_path: Path) -> None:
    row = HF[name]
    model = hf_model(row, tmp_path / "theirs")
    weights = stored_weights(model)
    tensors = stored_tensors(row, weights)
    beside = {one: ("F32", tuple(shape)) for one, shape in row.whole.get("beside", {}).items()}
    checkpoint = _opened(row, {**tensors, **beside}, tmp_path / "ours")
    checkpoint.check()
    assert checkpoint.parameters == count_parameters(model)
    assert differences(model, checkpoint.config) == {}
    _check_facts(row, checkpoint)
    if "tensors" in row.says:
        assert len(tensors) == row.says["tensors"]
    if "bytes" in row.says:
        sizes = {"BF16": 2, "U8": 1}
        assert sum(sizes[kind] * prod(shape) for kind, shape in tensors.values()) == row.says["bytes"]
    plain = "text_config" not in row.config and "quantization_config" not in row.config
    if len(tensors) < MANY:
        _check_shown(tmp_path / "ours", checkpoint, halves=plain)


ABSENT = [
    ("phi-2", "partial_rotary_factor"),
    ("gpt-oss-20b", "layer_types"),
    ("gpt-oss-20b", "sliding_window"),
    ("gpt-oss-20b", "rope_scaling"),
    ("Mellum2", "sliding_window"),
    ("Mistral-7B-v0.1", "sliding_window"),
    ("starcoder2-7b", "rope_theta"),
    ("granite-3.3-8b", "rms_norm_eps"),
    ("Qwen3-Next-80B-A3B", "partial_rotary_factor"),
    ("DeepSeek-Coder-V2-Lite", "routed_scaling_factor"),
]


@pytest.mark.parametrize(("name", "key"), ABSENT)
def test_what_a_file_leaves_out_means_what_it_means_to_hf(name: str, key: str, tmp_path: Path) -> None:
    """Of keys whose absence changes no weight's shape."""
    row = HF[name]
    less = {one: value for one, value in row.config.items() if one != key}
    settings = Settings(less, "config.json")
    ours = find_architecture(settings, ()).configure(settings)
    assert differences(hf_model(replace(row, config=less), tmp_path / "theirs"), ours) == {}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_by_name(name: str, tmp_path: Path) -> None:
    row = HF[name]
    folder = write_folder(tmp_path / "ours", row.config, {"weight": ("BF16", (8, 8))}, names=NAMES)
    with pytest.raises(CheckpointError, match=row.whole["refused"]) as caught:
        open_folder(folder)
    assert caught.value.hint


@pytest.mark.parametrize("name", MISTRAL)
def test_mistrals_own_settings_are_read_as_what_they_published_elsewhere(name: str, tmp_path: Path) -> None:
    row, twin = MISTRAL[name], HF.get(MISTRAL[name].says.get("model", ""))
    if row.config.get("model_type") == "mamba":
        assert twin is not None
        weights = stored_weights(hf_model(twin, tmp_path / "theirs"))
        shapes = {f"model.{one.replace('embeddings', 'embedding')}": weights[one].shape for one in weights}
    else:
        shapes = {one: torch.Size(shape) for one, shape in mistral_tensors(row.config).items()}
    tensors = {one: ("BF16", tuple(shape)) for one, shape in shapes.items()}
    if "vision_encoder" in row.config:
        tensors["vision_encoder.patch_conv.weight"] = ("BF16", (1408, 3, 14, 14))
    folder = write_folder(tmp_path / "ours", row.config, tensors, names=("params.json", "consolidated.safetensors"))
    checkpoint = open_folder(folder)
    checkpoint.check()
    _check_facts(row, checkpoint)
    _check_shown(folder, checkpoint, halves=True)
    if twin is not None:
        model = hf_model(twin, tmp_path / "theirs")
        assert checkpoint.parameters == count_parameters(model)
        assert differences(model, checkpoint.config) == {}
