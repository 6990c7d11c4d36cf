"""Folders in HF's layout: shards and dtypes, and damage of every kind refused by name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.architectures.gpt_oss import mxfp4
from model.architectures.table import ARCHITECTURES
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.errors import CheckpointError
from tests.model.tiny_hf import CASES, write_hf

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_hf(tmp_path / "tiny", CASES["mixtral"])


def _edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def test_shards_read_as_one_file_does(tmp_path: Path) -> None:
    one = HuggingFaceCheckpoint(write_hf(tmp_path / "one", CASES["mixtral"]))
    many = HuggingFaceCheckpoint(write_hf(tmp_path / "many", CASES["mixtral"], shard="100KB"))
    assert len(list(many.path.glob("*.safetensors"))) > 3
    for (name, first), (other, second) in zip(one.weights(), many.weights(), strict=True):
        assert name == other
        assert torch.equal(first, second)


def test_bfloat16_weights_keep_their_type_until_they_are_converted(folder: Path) -> None:
    _edit_weights(folder, lambda weights: weights.update({name: part.bfloat16() for name, part in weights.items()}))
    checkpoint = HuggingFaceCheckpoint(folder)
    assert {weight.dtype for _, weight in checkpoint.weights()} == {torch.bfloat16}
    seen: list[float] = []
    decoder = fill_decoder(checkpoint.config, checkpoint.weights(), dtype=torch.float32, progress=seen.append)
    assert {weight.dtype for weight in decoder.parameters()} == {torch.float32}
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert checkpoint.parameters == sum(weight.numel() for weight in decoder.parameters())


def test_a_decoder_does_not_lend_the_mapped_file(folder: Path) -> None:
    before = (folder / WEIGHTS).read_bytes()
    checkpoint = HuggingFaceCheckpoint(folder)
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.zero_()
    assert (folder / WEIGHTS).read_bytes() == before


_GATE = "model.layers.1.block_sparse_moe.gate.weight"
_UP = "model.layers.2.block_sparse_moe.experts.5.w3.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop(_UP), rf"missing {_UP}, unexpected none"),
        (lambda weights: weights.update({"model.stray": torch.zeros(2)}), r"unexpected model\.stray"),
        (lambda weights: weights.update({_GATE: torch.zeros(7, 48)}), rf"{_GATE}.*shape \(7, 48\).*\(8, 48\)"),
        (lambda weights: weights.update({_UP: weights[_UP].to(torch.float8_e4m3fn)}), rf"{_UP}.*type F8_E4M3"),
        (lambda weights: weights.update({_UP: weights[_UP].to(torch.int8)}), rf"{_UP}.*type I8"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder: Path, change: Callable[[Any], object], message: str) -> None:
    _edit_weights(folder, change)
    checkpoint = HuggingFaceCheckpoint(folder)
    for refuse in (checkpoint.check, lambda: next(checkpoint.weights())):
        with pytest.raises(CheckpointError, match=message) as caught:
            refuse()
        assert caught.value.hint


def test_a_shape_that_shows_when_experts_are_joined_is_refused(folder: Path) -> None:
    def narrow(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if name.endswith("w1.weight")]:
            weights[name] = weights[name][:60].contiguous()

    _edit_weights(folder, narrow)
    with pytest.raises(CheckpointError, match=r"experts\.0\.w1\.weight.*shape \(8, 60, 48\)"):
        list(HuggingFaceCheckpoint(folder).weights())


def test_experts_of_different_shapes_are_refused(folder: Path) -> None:
    _edit_weights(folder, lambda weights: weights.update({_UP: torch.zeros(60, 48)}))
    with pytest.raises(CheckpointError, match="different shapes"):
        list(HuggingFaceCheckpoint(folder).weights())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "rwkv"}, "architecture 'rwkv'"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"hidden_size": "wide"}, "'wide' for hidden_size"),
        ({"hidden_size": None}, "None for hidden_size"),
        ({"num_hidden_layers": 0}, "0 for num_hidden_layers"),
        ({"num_key_value_heads": 3}, "3 for num_key_value_heads"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "'dynamic'"),
        ({"rope_parameters": [1]}, "for rope_parameters"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 0}}, "0 for rope_theta"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0}}, "0 for factor"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 0}}, "0 for factor"),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 0}},
            "0 for original_max_position_embeddings",
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "factor": 0,
                    "original_max_position_embeddings": 64,
                    "low_freq_factor": 1,
                    "high_freq_factor": 4,
                }
            },
            "0 for factor",
        ),
        ({"tie_word_embeddings": "yes"}, "'yes' for tie_word_embeddings"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantized by 'awq'"),
    ],
)
def test_a_configuration_that_cannot_be_computed_is_refused(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    _edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        HuggingFaceCheckpoint(folder)
    assert caught.value.hint


def test_the_hint_for_an_unknown_architecture_names_the_known_ones(folder: Path) -> None:
    _edit_config(folder, model_type="rwkv")
    with pytest.raises(CheckpointError) as caught:
        HuggingFaceCheckpoint(folder)
    assert all(name in caught.value.hint for name in ARCHITECTURES)


@pytest.mark.parametrize("length", [0, 5, 200, 20_000, -1])
def test_a_truncated_file_is_refused(folder: Path, length: int) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS} is truncated or damaged") as caught:
        HuggingFaceCheckpoint(folder)
    assert caught.value.hint


@pytest.mark.parametrize("content", ["", "[]", "{", '{"model_type": 7}'])
def test_a_damaged_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        HuggingFaceCheckpoint(folder)


def test_a_folder_without_its_parts_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        HuggingFaceCheckpoint(tmp_path)
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        HuggingFaceCheckpoint(folder)


def test_shards_that_are_missing_or_outside_are_refused(tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "many", CASES["llama-2"], shard="100KB")
    index = folder / "model.safetensors.index.json"
    whole = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": {"a": "../many/config.json"}}))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        HuggingFaceCheckpoint(folder)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="damaged"):
        HuggingFaceCheckpoint(folder)
    index.write_text(json.dumps(whole))
    gone = next(iter(whole["weight_map"].values()))
    (folder / gone).unlink()
    with pytest.raises(CheckpointError, match=gone):
        HuggingFaceCheckpoint(folder)


def test_older_configurations_read_the_same(folder: Path) -> None:
    """Before `rope_parameters` there were `rope_theta` and `rope_scaling`, whose kind was called `type`."""
    _edit_config(folder, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5})
    new = HuggingFaceCheckpoint(folder).config
    _edit_config(folder, rope_parameters=None, rope_theta=5e5, rope_scaling={"type": "linear", "factor": 2.0})
    assert HuggingFaceCheckpoint(folder).config == new
    assert new.layers[0].attention.rope.factors == (2.0,) * 6


def test_mxfp4_unpacks_as_hf_does() -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (2, 6, 3, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(100, 140, (2, 6, 3), generator=generator, dtype=torch.uint8)
    theirs = convert_moe_packed_tensors(blocks, scales).transpose(1, 2)  # they return [X, inputs, outputs]
    assert torch.equal(mxfp4([blocks, scales]), theirs)


def test_gpt_oss_reads_alike_from_mxfp4_and_from_plain_weights(tmp_path: Path) -> None:
    """Weights on the four-bit grid, stored both ways."""
    folder = write_hf(tmp_path / "tiny", CASES["gpt-oss"])
    _edit_config(folder, hidden_size=64)
    weights = load_file(folder / WEIGHTS)
    wide: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    packed: dict[str, torch.Tensor] = {}
    for name, old in weights.items():
        shape = [64 if size == 48 else size for size in old.shape]
        if name.endswith(("gate_up_proj", "down_proj")):
            experts, inputs, outputs = shape
            blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
            scales = torch.randint(120, 126, blocks.shape[:3], generator=generator, dtype=torch.uint8)
            packed |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
            wide[name] = mxfp4([blocks, scales]).transpose(1, 2).contiguous()
        else:
            packed[name] = wide[name] = torch.randn(shape, generator=generator)
    save_file(wide, folder / WEIGHTS)
    plain = dict(HuggingFaceCheckpoint(folder).weights())
    save_file(packed, folder / WEIGHTS)
    unpacked = dict(HuggingFaceCheckpoint(folder).weights())
    assert plain.keys() == unpacked.keys()
    for name, weight in plain.items():
        assert torch.equal(weight, unpacked[name]), name
