"""Checkpoints in eight-bit floating point with scales in blocks, against HF's own reading of the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.quantizers import quantizer_finegrained_fp8

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.errors import CheckpointError
from model.fp8 import E4M3
from model.packer import Packer, Quantize
from tests.model.tiny_hf import CASES, VOCABULARY, hf_model, write_hf

BLOCK = 16
WEIGHTS = "model.safetensors"
_MISTRALS = ("w1", "w2", "w3", "wq", "wkv_a_with_mqa", "wkv_b", "wo")
PROJECTIONS = ("_proj.weight", *(f".{name}.weight" for name in _MISTRALS))
"""HF's names, and Mistral's."""


def _blocks(weight: Tensor) -> tuple[Tensor, Tensor]:
    """e4m3 and scales by a loop over blocks, those at the edges smaller."""
    quants = torch.empty(weight.shape, dtype=E4M3)
    scales = torch.empty(-(-weight.shape[0] // BLOCK), -(-weight.shape[1] // BLOCK))
    for row in range(scales.shape[0]):
        for column in range(scales.shape[1]):
            cut = (slice(row * BLOCK, (row + 1) * BLOCK), slice(column * BLOCK, (column + 1) * BLOCK))
            scales[row, column] = weight[cut].abs().max() / 448
            quants[cut] = (weight[cut] / scales[row, column]).to(E4M3)
    return quants, scales


def write_fp8(folder: Path, *, block: int | None = BLOCK) -> Path:
    """Store every projection of a folder in e4m3; `block` None: with one scale each, stacked experts too."""
    stored: dict[str, Tensor] = {}
    for name, weight in load_file(folder / WEIGHTS).items():
        if weight.dim() == 3:
            scale = weight.abs().amax((1, 2), keepdim=True) / 448
            stored[name], stored[f"{name}_scale_inv"] = (weight / scale).to(E4M3), scale
            stored[f"{name}_activation_scale"] = torch.ones(len(weight))
        elif not name.endswith(PROJECTIONS) or name.startswith("vision") or "indexer" in name:
            stored[name] = weight
        elif block is not None:
            stored[name], stored[f"{name}_scale_inv"] = _blocks(weight)
        else:
            scale = weight.abs().max() / 448
            stored[name], stored[f"{name}_scale_inv"] = (weight / scale).to(E4M3), scale
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})
    sizes = None if block is None else [block, block]
    _edit(folder, {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": sizes})
    return folder


def _edit(folder: Path, quantization: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": quantization}))


@pytest.mark.parametrize(("case", "block"), [("qwen3-moe-mixed", BLOCK), ("llama-2", None), ("mistral-large-4", None)])
def test_logits_equal_hf(case: str, block: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, HF turns such weights into plain ones; it asks for a package that this does not need."""
    monkeypatch.setattr(quantizer_finegrained_fp8, "is_accelerate_available", lambda: True)
    folder = write_fp8(write_hf(tmp_path / "tiny", CASES[case]), block=block)
    checkpoint = HuggingFaceCheckpoint(folder)
    assert "F8_E4M3" in checkpoint.number_formats
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(0, VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = hf_model(folder)(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_stacked_experts_have_a_scale_each(tmp_path: Path) -> None:
    """As Mistral Small 4 is stored, against HF on the numbers that they stand for."""
    plain = write_hf(tmp_path / "plain", CASES["mistral-small-4"])
    folder = write_fp8(write_hf(tmp_path / "tiny", CASES["mistral-small-4"]), block=None)
    stored, numbers = load_file(folder / WEIGHTS), {}
    for name in load_file(plain / WEIGHTS):
        numbers[name] = stored[name].float() * stored.get(f"{name}_scale_inv", torch.ones(()))
    save_file(numbers, plain / WEIGHTS, metadata={"format": "pt"})
    checkpoint = HuggingFaceCheckpoint(folder)
    checkpoint.check()
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(0, VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = hf_model(plain)(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_stacked_experts_with_one_scale_are_refused(tmp_path: Path) -> None:
    folder = write_fp8(write_hf(tmp_path / "tiny", CASES["mistral-small-4"]), block=None)
    weights = load_file(folder / WEIGHTS)
    weights["model.layers.1.mlp.experts.down_proj_scale_inv"] = torch.ones(())
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"down_proj_scale_inv.*no scales for") as caught:
        HuggingFaceCheckpoint(folder)
    assert caught.value.hint


def test_served_in_eight_bits_they_keep_their_numbers(tmp_path: Path) -> None:
    """The blocks of 128 here are whole matrices, so each keeps its own greatest number."""
    folder = write_fp8(write_hf(tmp_path / "tiny", CASES["llama-2"]), block=None)
    checkpoint = HuggingFaceCheckpoint(folder)
    packer = Packer(dtype=torch.float32, quantize=Quantize.FP8_BLOCK)
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        plain = fill_decoder(checkpoint.config, checkpoint.weights())(ids)
        packed = fill_decoder(checkpoint.config, checkpoint.weights(), packer=packer)(ids)
    torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ({"weight_block_size": [16, 32]}, r"\[16, 32\] for weight_block_size"),
        ({"weight_block_size": [24, 24]}, r"weight_scale_inv.*no scales for"),
        ({"weight_block_size": None}, r"weight_scale_inv.*no scales for"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(quantization: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write_fp8(write_hf(tmp_path / "tiny", CASES["llama-2"]))
    _edit(folder, {"quant_method": "fp8"} | quantization)
    with pytest.raises(CheckpointError, match=message) as caught:
        HuggingFaceCheckpoint(folder)
    assert caught.value.hint


def test_eight_bits_without_scales_are_refused(tmp_path: Path) -> None:
    folder = write_fp8(write_hf(tmp_path / "tiny", CASES["llama-2"]))
    kept = {name: part for name, part in load_file(folder / WEIGHTS).items() if "scale_inv" not in name}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="type F8_E4M3"):
        HuggingFaceCheckpoint(folder).check()
