"""What GGUF files say of rotary positions against HF, which reads the same weights and is told it in its own words."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.checkpoint.llama import read_config
from model.errors import CheckpointError
from tests.model.gguf_format import write_gguf
from tests.model.test_gguf_model import gguf_case
from tests.model.tiny_hf import CASES, VOCABULARY, Case, hf_model, write_hf

_YARN = {"type": "yarn", "factor": 8.0, "original_context_length": 64}
_SAME = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64}
_LINEAR = {"rope_type": "linear", "factor": 4.0}
_SHARPER = 0.1 * log(8) + 1  # what YaRN makes of a factor of 8
ROWS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "YaRN": ("llama-2", _YARN | {"yarn_ext_factor": 1.0}, _SAME),
    "YaRN by the window": ("llama-2", {"type": "yarn", "factor": 8.0}, {"rope_type": "yarn", "factor": 8.0}),
    "a ramp of its own": (
        "qwen2.5-coder",
        _YARN | {"yarn_beta_fast": 8.0, "yarn_beta_slow": 2.0},
        _SAME | {"beta_fast": 8.0, "beta_slow": 2.0},
    ),
    "HF's magnitude": ("llama-2", _YARN | {"yarn_attn_factor": 1.7}, _SAME | {"attention_factor": 1.7}),
    "a magnitude on top": ("llama-2", _YARN | {"attn_factor": 1.5}, _SAME | {"attention_factor": 1.5 * _SHARPER}),
    "on experts": ("granite-3-moe", _YARN | {"attn_factor": 0.5}, _SAME | {"attention_factor": 0.5 * _SHARPER}),
    "what latent attention alone reads": ("qwen3", _YARN | {"yarn_log_multiplier": 0.5}, _SAME),
    "none": ("llama-2", {"type": "none", "factor": 4.0}, {"rope_type": "default"}),
    "linear, as older files say it": ("llama-2", {"scale_linear": 4.0}, _LINEAR),
    "linear, without its name": ("qwen3", {"factor": 4.0}, _LINEAR),
    "linear by nothing": ("qwen3", {"type": "linear"}, {"rope_type": "default"}),
}
"""A checkpoint that does not scale, what its file says all the same, and what that means in HF's words."""


def keys(said: dict[str, Any]) -> dict[str, Any]:
    """Under their names in the metadata."""
    return {f"rope.{'' if key == 'scale_linear' else 'scaling.'}{key}": value for key, value in said.items()}


@pytest.mark.parametrize(("name", "said", "meant"), ROWS.values(), ids=ROWS)
def test_positions_turn_as_hf_turns_them(
    name: str, said: dict[str, Any], meant: dict[str, Any], tmp_path: Path
) -> None:
    source = write_hf(tmp_path / "hf", CASES[name])
    path = write_gguf(source, tmp_path / "tiny.gguf", metadata=keys(said))
    settings = json.loads((source / "config.json").read_text())
    settings["rope_parameters"] = {"rope_theta": settings["rope_parameters"]["rope_theta"]} | meant
    (source / "config.json").write_text(json.dumps(settings))
    with GgufFile(path) as file:
        checkpoint = GgufCheckpoint(file)
        decoder = fill_decoder(checkpoint.config, checkpoint.weights())
        if name == "llama-2":
            assert read_config(file).layers == checkpoint.config.layers
    ids = torch.randint(0, VOCABULARY, (1, 40), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(3000, 3040)[None]
    with torch.no_grad():
        theirs = hf_model(source)(ids, position_ids=positions).logits
        ours = decoder.head(decoder(ids, positions=positions))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_divisors_come_on_top_of_a_scaling(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES["llama-3.1"])
    plain = write_gguf(source, tmp_path / "plain.gguf")
    scaled = write_gguf(source, tmp_path / "scaled.gguf", metadata=keys({"type": "linear", "factor": 4.0}))
    with GgufFile(plain) as file:
        divisors = read_config(file).layers[0].attention.rope.factors
    with GgufFile(scaled) as file:
        both = read_config(file).layers[0].attention.rope.factors
    assert divisors is not None
    assert len(set(divisors)) > 2
    assert both == tuple(4 * one for one in divisors)


_GROWING = CASES["ministral-3"].settings["rope_parameters"]
_UNSCALED = {key: _GROWING[key] for key in ("rope_theta", "llama_4_scaling_beta", "original_max_position_embeddings")}
MISTRAL3: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another magnitude": (_GROWING | {"mscale_all_dim": 0.5}, {}),
    "the whole magnitude": ({key: value for key, value in _GROWING.items() if "mscale" not in key}, {}),
    "queries that stay": (_GROWING | {"llama_4_scaling_beta": 0.0}, {}),
    "queries that grow, no scaling": (_UNSCALED, {"rope.scaling.original_context_length": 16}),
    "and by the context": (_UNSCALED | {"original_max_position_embeddings": 32}, {"context_length": 32}),
}
"""Ministral 3 with other rotary parameters, and what the file says beside them."""


def mistral3_file(rope: dict[str, Any], metadata: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """HF's folder, and the file."""
    case = CASES["ministral-3"]
    source = write_hf(folder / "hf", Case(case.config, case.settings | {"rope_parameters": rope}))
    return source, write_gguf(source, folder / "tiny.gguf", metadata=metadata)


@pytest.mark.parametrize(("rope", "metadata"), MISTRAL3.values(), ids=MISTRAL3)
def test_ministral_3_turns_and_grows_as_hf_has_it(
    rope: dict[str, Any], metadata: dict[str, Any], tmp_path: Path
) -> None:
    source, path = mistral3_file(rope, metadata, tmp_path)
    with GgufFile(path) as file:
        checkpoint = GgufCheckpoint(file)
        decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    assert (checkpoint.config.layers[0].attention.growth is None) == (rope["llama_4_scaling_beta"] == 0)
    ids = torch.randint(0, VOCABULARY, (1, 40), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(3000, 3040)[None]
    with torch.no_grad():
        theirs = hf_model(source)(ids, position_ids=positions).logits
        ours = decoder.head(decoder(ids, positions=positions))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "extrapolation in part": ("llama-2", _YARN | {"yarn_ext_factor": 0.5}, "yarn_ext_factor 0.5"),
    "no factor": ("llama-2", {"type": "yarn"}, "None for factor"),
    "another kind": ("qwen3", {"type": "longrope", "factor": 8.0}, "'longrope'"),
    "no number": ("qwen3", {"attn_factor": "much"}, "'much' for qwen3.rope.scaling.attn_factor"),
    "latent attention": ("deepseek-v2-lite", {"attn_factor": 1.5}, "attn_factor of 1.5"),
    "two ways of turning": ("mellum-2", {"attn_factor": 1.5}, "attn_factor of 1.5"),
}


@pytest.mark.parametrize(("name", "said", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_computed_is_refused(name: str, said: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", gguf_case(name))
    path = write_gguf(source, tmp_path / "tiny.gguf", metadata=keys(said))
    with GgufFile(path) as file, pytest.raises(CheckpointError, match=message) as caught:
        GgufCheckpoint(file)
    assert caught.value.hint


def test_divisors_of_another_number_are_refused(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES["llama-2"])
    edit = {"rope_freqs.weight": torch.ones(5)}
    path = write_gguf(source, tmp_path / "tiny.gguf", edit=lambda tensors: tensors.update(edit))
    with GgufFile(path) as file, pytest.raises(CheckpointError, match="5 numbers for 12 rotary dimensions") as caught:
        GgufCheckpoint(file)
    assert caught.value.hint
