"""Models that also see pictures, against HF transformers, which wrote them: the text alone."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.config import QueryGrowth
from model.errors import CheckpointError
from tests.model.tiny_hf import CASES, VOCABULARY, write_hf

TEXT = {
    "model_type": "mistral",
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "sliding_window": None,
}
SEEING = {
    "model_type": "pixtral",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


def _write(folder: Path, *, tied: bool, text: dict[str, Any] = TEXT) -> Any:
    """HF's model, and its checkpoint in the folder."""
    config = transformers.Mistral3Config(text_config=text, vision_config=SEEING, tie_word_embeddings=tied)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        for name, weight in model.named_parameters():
            weight.normal_(1, 0.2) if name.endswith("norm.weight") else weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("tied", [False, True])
def test_logits_equal_hf(tied: bool, tmp_path: Path) -> None:
    model = _write(tmp_path / "hf", tied=tied)
    checkpoint = open_folder(tmp_path / "hf")
    stored = load_file(tmp_path / "hf" / "model.safetensors")
    assert ("language_model.lm_head.weight" in stored) is not tied
    assert checkpoint.config.architecture == "mistral3"
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(20, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = model(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_ministral_3_may_be_the_text(tmp_path: Path) -> None:
    """As Devstral Small 2 is stored: queries grow every 16 tokens here."""
    growing = CASES["ministral-3"].settings["rope_parameters"]
    model = _write(tmp_path / "hf", tied=False, text=TEXT | {"model_type": "ministral3", "rope_parameters": growing})
    checkpoint = open_folder(tmp_path / "hf")
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(20, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = model(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    assert checkpoint.config.layers[0].attention.growth == QueryGrowth(slope=0.3, step_tokens=16)


def test_mistral_small_4_may_be_the_text(tmp_path: Path) -> None:
    sizes = {key: value for key, value in TEXT.items() if key != "head_dim"}
    text = sizes | deepcopy(CASES["mistral-small-4"].settings) | {"model_type": "mistral4"}
    model = _write(tmp_path / "hf", tied=False, text=text)
    checkpoint = open_folder(tmp_path / "hf")
    checkpoint.check()
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(20, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = model(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    assert checkpoint.config.layers[0].attention.growth == QueryGrowth(slope=0.3, step_tokens=16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_group": 2}, "n_group 2"),
        ({"rope_interleave": False}, "rope_interleave False"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"kv_lora_rank": None}, "None for kv_lora_rank"),
        ({"n_routed_experts": 2**40}, "for n_routed_experts"),
    ],
)
def test_other_blocks_than_small_4s_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "tiny", CASES["mistral-small-4"])
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message) as caught:
        open_folder(folder)
    assert caught.value.hint


def test_a_step_of_no_tokens_is_refused(tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "tiny", CASES["ministral-3"])
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_parameters"]["original_max_position_embeddings"] = 0
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="0 for original_max_position_embeddings") as caught:
        open_folder(folder)
    assert caught.value.hint


def test_without_llama_4s_rule_queries_stay(tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "tiny", CASES["ministral-3"])
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["rope_parameters"]["llama_4_scaling_beta"]
    path.write_text(json.dumps(config))
    assert open_folder(folder).config.layers[0].attention.growth is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"text_config": None}, "None for text_config"), ({"text_config": {"model_type": "mistral5"}}, "'mistral5'")],
)
def test_other_texts_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    _write(tmp_path / "hf", tied=False)
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message) as caught:
        open_folder(tmp_path / "hf")
    assert caught.value.hint
