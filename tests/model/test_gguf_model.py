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
from model.kv_cache import KvCache
from model.load import Served
from model.open_model import open_model
from model.packer import Quantize
from tests.model.gguf_format import write_gguf
from tests.model.tiny_hf import CASES, VOCABULARY, Case, hf_model, write_hf

NAMES = [
    "llama-2",
    "llama-3.1",
    "llama-linear",
    "llama-yarn",
    "mixtral",
    "ministral-3",
    "qwen2.5-coder",
    "qwen3",
    "qwen3-coder",
    "phi-2",
    "starcoder2",
    "granite-3",
    "granite-3-moe",
    "granite-3-shared",
    "deepseek-v2-lite",
    "deepseek-v2",
    "mistral-small-4",
    "gpt-oss",
    "mamba-2",
    "granite-4",
    "granite-4-dense",
    "qwen3-next",
    "mellum-2",
]
CHANGES: dict[str, dict[str, Any]] = {
    "starcoder2": {"sliding_window": None},  # GGUF does not say that its attention has a window
    "granite-4-dense": {"shared_intermediate_size": 64, "num_experts_per_tok": 0},  # nor has two sizes for one block
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


@pytest.mark.parametrize("architecture", ["mistral4", "deepseek2"])
def test_mistrals_latent_attention_goes_by_two_names(architecture: str, tmp_path: Path) -> None:
    """Under DeepSeek's, the experts' weights still sum to one, and queries grow."""
    _check(CASES["mistral-4-mixed"], tmp_path, architecture=architecture)


def test_compressed_queries_are_read(tmp_path: Path) -> None:
    case = CASES["deepseek-v2-lite"]
    _check(Case(case.config, case.settings | {"q_lora_rank": 24}), tmp_path)


def test_queries_keys_and_values_may_lie_together(tmp_path: Path) -> None:
    _check(CASES["phi-2"], tmp_path, fused_qkv=True)


@pytest.mark.parametrize("name", ["qwen3-coder", "qwen3-next"])
def test_gates_and_ups_of_experts_may_lie_together(name: str, tmp_path: Path) -> None:
    _check(gguf_case(name), tmp_path, fused_experts=True)


def test_experts_may_lie_one_by_one(tmp_path: Path) -> None:
    """As the first files of Mixtral have them."""

    def part(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if "_exps" in name]:
            parts = tensors.pop(name)
            tensors |= {name.replace("_exps", f".{index}"): expert for index, expert in enumerate(parts)}

    _check(CASES["mixtral"], tmp_path, edit=part)


STARCODER2 = {30: 999999.4420358813, 32: 1e6, 40: 1e5}
"""By layers: 3B, 7B and 15B."""


@pytest.mark.parametrize(("layers", "base"), [*STARCODER2.items(), (3, 1e4)])
def test_the_first_files_of_starcoder2_do_not_say_their_rotary_base(layers: int, base: float, tmp_path: Path) -> None:
    case = CASES["starcoder2"]
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 8}
    source = write_hf(tmp_path / "hf", Case(case.config, case.settings | sizes | {"num_hidden_layers": layers}))
    for metadata, meant in (({"rope.freq_base": None}, base), ({"rope.freq_base": 5e5}, 5e5)):
        path = write_gguf(source, tmp_path / "tiny.gguf", metadata=metadata)
        with GgufFile(path) as file:
            assert {layer.attention.rope.base for layer in GgufCheckpoint(file).config.layers} == {meant}


@pytest.mark.parametrize(
    ("case", "said", "meant"),
    [("granite-4", 2**20, 131072), ("granite-4", 32768, 32768), ("granite-4-dense", 2**20, 2**20)],
)
def test_granites_without_positions_have_the_context_that_they_were_trained_for(
    case: str, said: int, meant: int, tmp_path: Path
) -> None:
    """Converters write a million for them."""
    source = write_hf(tmp_path / "hf", gguf_case(case))
    path = write_gguf(source, tmp_path / "tiny.gguf", metadata={"context_length": said})
    with GgufFile(path) as file:
        assert GgufCheckpoint(file).config.context_tokens == meant


def test_the_delta_rules_projections_may_lie_together(tmp_path: Path) -> None:
    _check(gguf_case("qwen3-next"), tmp_path, joint_delta=True)


DAMAGE: dict[str, tuple[str, dict[str, Any], str]] = {
    "heads of a state space": ("mamba-2", {"ssm.time_step_rank": 0}, "0 for ssm.time_step_rank"),
    "their size": ("mamba-2", {"ssm.inner_size": 100}, "8 for ssm.time_step_rank"),
    "its width": ("mamba-2", {"ssm.inner_size": 104}, "8 for num_heads"),
    "layers that attend": ("granite-4", {"attention.head_count_kv": [0, 0, 0]}, "attention.head_count_kv"),
    "their number": ("granite-4", {"attention.head_count_kv": [0, 2]}, "for layer_types"),
    "every so many layers": ("qwen3-next", {"full_attention_interval": 0}, "0 for full_attention_interval"),
    "key heads": ("qwen3-next", {"ssm.group_count": 3}, "3 for linear_num_key_heads"),
    "a pattern": ("mellum-2", {"attention.sliding_window_pattern": [1, 0, 1]}, "sliding_window_pattern"),
    "its length": ("mellum-2", {"attention.sliding_window_pattern": [True]}, "for layer_types"),
}


@pytest.mark.parametrize(("name", "metadata", "message"), DAMAGE.values(), ids=DAMAGE)
def test_wrong_keys_of_hybrids_are_named(name: str, metadata: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", gguf_case(name))
    path = write_gguf(source, tmp_path / "tiny.gguf", metadata=metadata)
    with GgufFile(path) as file, pytest.raises(CheckpointError, match=message) as caught:
        GgufCheckpoint(file)
    assert caught.value.hint


def test_a_state_that_would_grow_is_refused(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES["mamba-2"])
    path = write_gguf(source, tmp_path / "tiny.gguf", edit=lambda tensors: tensors["blk.1.ssm_a"].neg_())
    with GgufFile(path) as file, pytest.raises(CheckpointError, match="not all negative") as caught:
        list(GgufCheckpoint(file).weights())
    assert caught.value.hint


@pytest.mark.parametrize("period", [0, 1, 2, 3])
def test_windows_may_come_by_a_period(period: int, tmp_path: Path) -> None:
    """The last of so many layers sees all; with 0 none does."""
    source = write_hf(tmp_path / "hf", gguf_case("mellum-2"))
    path = write_gguf(source, tmp_path / "tiny.gguf", metadata={"attention.sliding_window_pattern": period})
    with GgufFile(path) as file:
        slides = [layer.attention.window is not None for layer in GgufCheckpoint(file).config.layers]
    assert slides == {0: [True] * 3, 1: [False] * 3, 2: [True, False, True], 3: [True, True, False]}[period]


@pytest.mark.parametrize("name", ["llama-2", "llama-3.1", "llama-linear", "llama-yarn"])
def test_plain_files_are_served_as_hf_computes_them(name: str, tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES[name])
    path = write_gguf(source, tmp_path / "tiny.gguf")
    loaded, _ = open_model(path, dtype=torch.float32, quantize=Quantize.NONE)
    assert isinstance(loaded, Served)
    ids = torch.randint(0, VOCABULARY, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.no_grad():
        theirs = hf_model(source)(torch.tensor([ids])).logits[0, -1]
    ours = loaded.head(loaded.decoder.forward(ids, KvCache(loaded.decoder.kv_shape)))[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    ("architecture", "integers", "message"),
    [
        ("mamba", {}, "architecture 'mamba'"),
        ("qwen2", {}, "token_embd"),
        ("deepseek2", {"deepseek2.expert_gating_func": 2}, "sigmoid"),
        ("mistral3", {"mistral3.expert_count": 8}, "expert_count 8"),
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
