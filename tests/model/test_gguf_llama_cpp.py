"""The tiny GGUF files against llama.cpp itself: what our tests write is what it reads, and the next token is as likely.

It comes with xllamacpp's wheel, and runs in a process of its own, since it aborts where a file does not suit it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from tests.model.gguf_format import write_gguf
from tests.model.test_gguf_model import NAMES, gguf_case
from tests.model.test_gguf_rope import MISTRAL3, keys, mistral3_file
from tests.model.tiny_hf import CASES, VOCABULARY, Case, write_hf

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed: pip install xllamacpp"
)

ASK = """
import json, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.port = sys.argv[1], 64, 1, 0
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it computes in half precision
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
for ids in json.loads(sys.argv[2]):
    body = {"prompt": ids, "max_tokens": 1, "logprobs": int(sys.argv[3]), "cache_prompt": False}
    print(json.dumps(server.handle_completions(body)))
"""
TOKENS = torch.randint(3, VOCABULARY, (40,), generator=torch.Generator().manual_seed(1)).tolist()
LENGTHS = (1, 9, 24, 40)
ONE_BASE = {"rope_type": "default", "rope_theta": 500000.0}
CHANGES: dict[str, dict[str, Any]] = {
    "deepseek-v2-lite": {"q_lora_rank": 24},  # it tells the Lite model, which has none, by its 27 layers
    "deepseek-v2": {"topk_method": "greedy", "n_group": 1, "topk_group": 1},  # it chooses groups by V3's rule
    "gpt-oss": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 150000.0}
    },  # it rounds YaRN's ramp, HF does not
    "qwen3-next": {"linear_value_head_dim": 8},  # llama.cpp has one size for keys and values
    "mellum-2": {"rope_parameters": dict.fromkeys(("full_attention", "sliding_attention"), ONE_BASE)},
}
"""What llama.cpp cannot compute, or computes otherwise. It reads Mellum's second base, and does not use it."""


_YARN = {"type": "yarn", "factor": 8.0, "original_context_length": 64}
SCALED: dict[str, tuple[str, dict[str, Any]]] = {
    "a magnitude on top of YaRN's": ("llama-2", _YARN | {"attn_factor": 1.5}),
    "a magnitude alone": ("granite-3-shared", {"attn_factor": 0.7}),
    "what latent attention alone reads": ("qwen3", _YARN | {"yarn_log_multiplier": 0.5}),
    "YaRN over divisors": ("llama-3.1", _YARN),
    "linear, as older files say it": ("llama-2", {"scale_linear": 4.0}),
    "linear, without its name": ("qwen2.5-coder", {"factor": 4.0}),
}
"""Checkpoints that do not scale, and what their files say all the same."""


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_llama_cpps(name: str, tmp_path: Path) -> None:
    case = gguf_case(name)
    source = write_hf(tmp_path / "hf", Case(case.config, case.settings | CHANGES.get(name, {})))
    _check(write_gguf(source, tmp_path / "tiny.gguf"))


@pytest.mark.parametrize(("name", "said"), SCALED.values(), ids=SCALED)
def test_positions_turn_as_llama_cpp_turns_them(name: str, said: dict[str, Any], tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES[name])
    _check(write_gguf(source, tmp_path / "tiny.gguf", metadata=keys(said)))


@pytest.mark.parametrize("name", [name for name, row in MISTRAL3.items() if "context_length" not in row[1]])
def test_queries_grow_as_llama_cpp_has_it(name: str, tmp_path: Path) -> None:
    """It reads no text beyond the context, where they would begin to grow by that."""
    _check(mistral3_file(*MISTRAL3[name], tmp_path)[1])


def test_several_files_are_one_model(tmp_path: Path) -> None:
    _check(write_gguf(write_hf(tmp_path / "hf", CASES["mixtral"]), tmp_path / "tiny.gguf", part_tensors=9))


def _check(path: Path) -> None:
    """Logarithms of the likelihood of every token behind texts of several lengths."""
    asked = [sys.executable, "-c", ASK, str(path), json.dumps([TOKENS[:length] for length in LENGTHS]), str(VOCABULARY)]
    said = subprocess.run(asked, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr[-2000:]
    theirs = torch.stack([_likelihoods(json.loads(line)) for line in said.stdout.splitlines()])
    with GgufFile(path) as file, torch.no_grad():
        checkpoint = GgufCheckpoint(file)
        decoder = fill_decoder(checkpoint.config, checkpoint.weights())
        logits = decoder.head(decoder(torch.tensor([TOKENS])))[0, [length - 1 for length in LENGTHS]]
    difference, scale = float((logits.log_softmax(-1) - theirs).abs().max()), float(logits.abs().max())
    print(f"{difference / scale:.1e} of the largest logit")
    assert difference < 1e-3 * scale


def _likelihoods(answer: dict[str, Any]) -> torch.Tensor:
    rows = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    found = {row["id"]: row["logprob"] for row in rows}
    assert sorted(found) == list(range(VOCABULARY))
    return torch.tensor([found[token] for token in range(VOCABULARY)])
