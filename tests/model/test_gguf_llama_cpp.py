"""The tiny GGUF files against llama.cpp itself: what our tests write is what it reads, and logits agree.

Runs where llama-cpp-python is installed beside us, or in the interpreter that TERSELY_LLAMA_CPP_PYTHON names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from tests.model.gguf_format import write_gguf
from tests.model.test_gguf_model import NAMES, gguf_case
from tests.model.test_gguf_rope import keys
from tests.model.tiny_hf import CASES, VOCABULARY, Case, write_hf

pytestmark = pytest.mark.slow

PYTHON = os.environ.get("TERSELY_LLAMA_CPP_PYTHON", sys.executable)
ASK = """
import json, sys
from llama_cpp import GGML_TYPE_F32, Llama
ids = json.loads(sys.argv[2])
kinds = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}
model = Llama(sys.argv[1], n_ctx=64, n_batch=64, logits_all=True, n_threads=1, verbose=False, **kinds)
model.eval(ids)
print(json.dumps(model.scores[: len(ids)].tolist()))
"""
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
"""What llama.cpp cannot compute. Version 0.3.36 of the bindings reads Mellum's second base, and does not use it."""


@cache
def _has_llama_cpp() -> bool:
    return subprocess.run([PYTHON, "-c", "import llama_cpp"], capture_output=True).returncode == 0


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


def _check(path: Path) -> None:
    if not _has_llama_cpp():
        pytest.skip("llama-cpp-python is not installed")
    ids = torch.randint(3, VOCABULARY, (24,), generator=torch.Generator().manual_seed(1))
    asked = [PYTHON, "-c", ASK, str(path), json.dumps(ids.tolist())]
    said = subprocess.run(asked, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr[-2000:]
    theirs = torch.tensor(json.loads(said.stdout))
    with GgufFile(path) as file, torch.no_grad():
        checkpoint = GgufCheckpoint(file)
        decoder = fill_decoder(checkpoint.config, checkpoint.weights())
        ours = decoder.head(decoder(ids[None]))[0]
    difference, scale = float((ours - theirs).abs().max()), float(theirs.abs().max())
    print(f"{difference / scale:.1e} of the largest logit")
    assert difference < 1e-3 * scale
