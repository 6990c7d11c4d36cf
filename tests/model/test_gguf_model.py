"""GGUF files of every architecture against HF on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.errors import CheckpointError
from tests.model.gguf_format import write_gguf
from tests.model.tiny_hf import CASES, VOCABULARY, Case, hf_model, write_hf

NAMES = [
    "llama-2",
    "llama-3.1",
    "mixtral",
    "qwen2.5-coder",
    "qwen3",
    "qwen3-coder",
    "phi-2",
    "starcoder2",
    "granite-3",
    "granite-3-moe",
    "deepseek-v2-lite",
    "gpt-oss",
    "mamba-2",
    "granite-4",
    "granite-4-dense",
    "qwen3-next",
    "mellum-2",
]
CHANGES: dict[str, dict[str, Any]] = {
    "starcoder2": {"sliding_window": None},  # GGUF does not say that its attention has a window
    "granite-4-dense": {"shared_intermediate_size": 64},  # nor has two sizes for a dense block
    "qwen3-next": {"mlp_only_layers": []},  # nor has dense layers between experts
    "mellum-2": {"mlp_layer_types": ["sparse"] * 3},
}
"""What no GGUF of an architecture can be."""


def gguf_case(name: str) -> Case:
    case = CASES[name]
    return Case(case.config, case.settings | CHANGES.get(name, {}))


def _check(case: Case, tmp_path: Path, **layout: Any) -> None:
    source = write_hf(tmp_path / "hf", case)
    path = write_gguf(source, tmp_path / "tiny.gguf", **layout)
    with GgufFile(path) as file:
        checkpoint = GgufCheckpoint(file)
        decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(0, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = hf_model(source)(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_hf(name: str, tmp_path: Path) -> None:
    _check(gguf_case(name), tmp_path)


def test_keys_and_values_of_latent_attention_may_lie_apart(tmp_path: Path) -> None:
    _check(CASES["deepseek-v2-lite"], tmp_path, split_latent=True)


def test_compressed_queries_are_read(tmp_path: Path) -> None:
    case = CASES["deepseek-v2-lite"]
    _check(Case(case.config, case.settings | {"q_lora_rank": 24}), tmp_path)


def test_queries_keys_and_values_may_lie_together(tmp_path: Path) -> None:
    _check(CASES["phi-2"], tmp_path, fused_qkv=True)


@pytest.mark.parametrize("name", ["qwen3-coder", "qwen3-next"])
def test_gates_and_ups_of_experts_may_lie_together(name: str, tmp_path: Path) -> None:
    _check(gguf_case(name), tmp_path, fused_experts=True)


def test_the_delta_rules_projections_may_lie_together(tmp_path: Path) -> None:
    _check(gguf_case("qwen3-next"), tmp_path, joint_delta=True)


@pytest.mark.parametrize(
    ("architecture", "integers", "message"),
    [
        ("mamba", {}, "architecture 'mamba'"),
        ("qwen2", {}, "token_embd"),
        ("deepseek2", {"deepseek2.expert_gating_func": 2}, "sigmoid"),
        ("gpt-oss", {"gpt-oss.attention.head_count": 0}, "block_count|num_hidden_layers"),
    ],
)
def test_what_is_not_supported_is_refused(
    architecture: str, integers: dict[str, int], message: str, tmp_path: Path
) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", architecture)
    for key, value in integers.items():
        writer.add_uint32(key, value)
    if integers:
        writer.add_tensor("token_embd.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GgufFile(tmp_path / "m.gguf") as file, pytest.raises(CheckpointError, match=message) as caught:
        GgufCheckpoint(file)
    assert caught.value.hint
