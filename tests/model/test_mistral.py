"""Mistral's own format against HF on the same weights, and damage refused by name."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.architectures.settings import Settings
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.mistral import MistralCheckpoint, _configure
from model.config import QueryGrowth
from model.errors import CheckpointError
from model.fp8 import E4M3
from tests.model.mistral_format import write_mistral, write_mistral_mamba
from tests.model.tiny_hf import CASES, VOCABULARY, Case, hf_model, write_hf


@pytest.mark.parametrize(
    ("case", "fused"),
    [
        ("mistral-7b-v0.1", False),
        ("mistral-nemo", False),
        ("ministral-8b", False),
        ("ministral-3", False),
        ("mixtral", False),
        ("mixtral", True),
    ],
)
@pytest.mark.parametrize("pickled", [False, True])
def test_logits_equal_hf(case: str, fused: bool, pickled: bool, tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES[case])
    checkpoint = MistralCheckpoint(write_mistral(source, tmp_path / "mistral", pickled=pickled, fused=fused))
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(0, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = hf_model(source)(ids).logits
        ours = decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    assert checkpoint.parameters == sum(weight.numel() for weight in decoder.parameters())


def _check(source: Path, folder: Path) -> None:
    """Near the start of a text, and far from it."""
    checkpoint = MistralCheckpoint(folder)
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(0, VOCABULARY, (1, 40), generator=torch.Generator().manual_seed(1))
    for first in (0, 3000):
        positions = torch.arange(first, first + 40)[None]
        with torch.no_grad():
            theirs = hf_model(source)(ids, position_ids=positions).logits
            ours = decoder.head(decoder(ids, positions=positions))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("scaled", [False, True])
def test_ministral_3s_positions_turn_and_its_queries_grow_as_hf_has_it(scaled: bool, tmp_path: Path) -> None:
    """`scaled`: what turns is made larger too."""
    case = CASES["ministral-3"]
    rope = dict(case.settings["rope_parameters"])
    if scaled:
        del rope["mscale"], rope["mscale_all_dim"]
    source = write_hf(tmp_path / "hf", Case(case.config, case.settings | {"rope_parameters": rope}))
    folder = write_mistral(source, tmp_path / "mistral")
    _check(source, folder)
    attention = MistralCheckpoint(folder).config.layers[0].attention
    assert attention.growth == QueryGrowth(slope=0.3, step_tokens=16)
    assert (attention.rope.scale > 1) is scaled


@pytest.mark.parametrize("sharpened", [False, True])
@pytest.mark.parametrize("case", ["mistral-small-4", "mistral-4-mixed"])
def test_latent_attention_is_sharpened_where_the_file_says_so(case: str, sharpened: bool, tmp_path: Path) -> None:
    settings = CASES[case].settings
    rope = settings["rope_parameters"] | ({} if sharpened else {"mscale_all_dim": 0.0, "attention_factor": 1.0})
    source = write_hf(tmp_path / "hf", Case("Mistral4Config", settings | {"rope_parameters": rope}))
    folder = write_mistral(source, tmp_path / "mistral")
    assert json.loads((folder / "params.json").read_text())["yarn"]["apply_scale"] is sharpened
    MistralCheckpoint(folder).check()
    _check(source, folder)


@pytest.mark.parametrize("case", ["ministral-3", "mistral-small-4"])
def test_eight_bits_with_a_scale_for_each_matrix_are_read(case: str, tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES[case])
    weights = load_file(source / "model.safetensors")
    for name in [name for name in weights if "_proj" in name]:
        parts = weights[name] if weights[name].dim() == 3 else weights[name][None]
        halves = [half for part in parts for half in (part.chunk(2) if "gate_up" in name else (part,))]
        rounded = [(half / (scale := half.abs().max() / 448)).to(E4M3).float() * scale for half in halves]
        weights[name] = torch.cat(rounded).view_as(weights[name])
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    folder = write_mistral(source, tmp_path / "mistral", eight_bits=True)
    assert "F8_E4M3" in MistralCheckpoint(folder).number_formats
    MistralCheckpoint(folder).check()
    _check(source, folder)


def test_scales_that_fit_no_matrix_are_named(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES["ministral-3"])
    folder = write_mistral(source, tmp_path / "mistral", eight_bits=True)
    weights = load_file(folder / "consolidated.safetensors")
    weights["layers.1.attention.wk.qscale_weight"] = torch.ones(3)
    save_file(weights, folder / "consolidated.safetensors")
    with pytest.raises(CheckpointError, match=r"wk\.qscale_weight.*no scales for") as caught:
        MistralCheckpoint(folder)
    assert caught.value.hint


def test_what_sees_pictures_is_passed_over(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES["mistral-nemo"])
    folder = write_mistral(source, tmp_path / "mistral")
    _edit(folder, vision_encoder={"hidden_size": 32, "image_size": 64})
    weights = load_file(folder / "consolidated.safetensors")
    seeing = (
        "vision_encoder.ln_pre",
        "vision_language_adapter.w_in",
        "pre_mm_projector_norm",
        "patch_merger.merging_layer",
    )
    weights |= {f"{name}.weight": torch.ones(3) for name in seeing}
    save_file(weights, folder / "consolidated.safetensors")
    checkpoint = MistralCheckpoint(folder)
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(0, VOCABULARY, (1, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = hf_model(source)(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_codestral_mamba_equals_hf(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_heads": 2, "head_dim": 64, "state_size": 128, "n_groups": 2}
    source = write_hf(tmp_path / "hf", Case("Mamba2Config", CASES["mamba-2"].settings | sizes))
    checkpoint = MistralCheckpoint(write_mistral_mamba(source, tmp_path / "mistral"))
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    ids = torch.randint(0, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = hf_model(source)(ids).logits, decoder.head(decoder(ids))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mistral(write_hf(tmp_path / "hf", CASES["mixtral"]), tmp_path / "mistral")


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mistral-nemo"]), tmp_path / "mistral", pickled=True)
    return folder / "consolidated.00.pth"


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


_YARN = {"factor": 4.0, "original_max_position_embeddings": 64, "beta": 32.0, "alpha": 1.0, "apply_scale": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": None}, "None for dim"),
        ({"n_kv_heads": 3}, "3 for n_kv_heads"),
        ({"n_layers": 0}, "0 for n_layers"),
        ({"model_type": "rwkv"}, "model_type 'rwkv'"),
        ({"model_type": "mamba", "rms_norm": False}, "rms_norm False"),
        ({"model_type": "mamba", "pad_vocab_size_multiple": 0}, "0 for pad_vocab_size_multiple"),
        ({"yarn": {"factor": 4}}, "None for original_max_position_embeddings"),
        ({"yarn": _YARN | {"factor": 0}}, "yarn, says 0.0 for factor"),
        ({"yarn": _YARN | {"original_max_position_embeddings": 0}}, "0 for original_max_position_embeddings"),
        ({"yarn": _YARN | {"apply_scale": "no"}}, "'no' for apply_scale"),
        ({"yarn": _YARN | {"gamma": 2}}, "has gamma 2, which is not known"),
        ({"yarn": _YARN, "rope_theta": 1.0}, "1.0 for rope_theta"),
        ({"llama_4_scaling": {"beta": 0.1}}, "None for original_max_position_embeddings"),
        ({"llama_4_scaling": {"beta": 0.1, "original_max_position_embeddings": 0}}, "0 for original_max_position"),
        ({"llama_4_scaling": {"beta": 0.1, "original_max_position_embeddings": 8, "floor": 1}}, "has floor 1"),
        ({"quantization": {"qformat_weight": "int4"}}, "qformat_weight 'int4'"),
        ({"quantization": {"quant_method": "compressed-tensors"}}, "None for qformat_weight"),
        ({"activation": "gelu"}, "activation 'gelu'"),
        ({"sliding_window": [9, None]}, "for sliding_window"),
        ({"sliding_window": []}, "for sliding_window"),
        ({"sliding_window": [9, 0, None]}, "for sliding_window"),
        ({"sliding_window": "wide"}, "'wide' for sliding_window"),
        ({"_sliding_window": [9, None]}, "for _sliding_window"),
        ({"moe": {"num_experts": 8}}, "num_experts_per_tok"),
        ({"moe": 8}, "8 for moe"),
    ],
)
def test_a_configuration_that_cannot_be_computed_is_refused(
    changes: dict[str, object], message: str, folder: Path
) -> None:
    _edit(folder, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        MistralCheckpoint(folder)
    assert caught.value.hint


_MOE = {"num_experts": 8, "num_experts_per_tok": 3, "expert_hidden_dim": 32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moe": None}, "None for moe"),
        ({"moe": _MOE | {"num_expert_groups": 2}}, "num_expert_groups 2"),
        ({"moe": _MOE | {"route_every_n": 2}}, "route_every_n 2"),
        ({"moe": _MOE | {"use_load_balancing_bias": True}}, "use_load_balancing_bias True"),
        ({"moe": _MOE | {"renorm_strategy": "NONE"}}, "renorm_strategy 'NONE'"),
        ({"moe": _MOE | {"latent_dim": 8}}, "has latent_dim 8, which is not known"),
        ({"n_layers": 0}, "0 for n_layers"),
        ({"v_head_dim": None}, "None for v_head_dim"),
        ({"max_seq_len": None}, "None for max_position_embeddings"),
        ({"rope_theta": 1.0}, "1.0 for rope_theta"),
        ({"yarn": _YARN | {"factor": 0.0}}, "yarn, says 0.0 for factor"),
        ({"yarn": _YARN | {"original_max_position_embeddings": 0}}, "0 for original_max_position_embeddings"),
        ({"llama_4_scaling": {"beta": 0.1, "original_max_position_embeddings": 0}}, "0 for original_max_position"),
    ],
)
def test_latent_attention_that_cannot_be_computed_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mistral-small-4"]), tmp_path / "mistral")
    _edit(folder, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        MistralCheckpoint(folder)
    assert caught.value.hint


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    path = folder / "consolidated.safetensors"
    weights = load_file(path)
    save_file({name: weight for name, weight in weights.items() if name != "layers.1.attention.wk.weight"}, path)
    with pytest.raises(CheckpointError, match=r"missing layers\.1\.attention\.wk\.weight"):
        MistralCheckpoint(folder).check()
    save_file(weights | {"layers.1.attention.wk.weight": torch.zeros(20, 48)}, path)
    with pytest.raises(CheckpointError, match=r"layers\.1\.attention\.wk\.weight.*shape \(20, 48\)"):
        list(MistralCheckpoint(folder).weights())


def test_windows_may_come_as_a_pattern_that_repeats(folder: Path) -> None:
    _edit(folder, sliding_window=[None, 9, 5])
    assert [layer.attention.window for layer in MistralCheckpoint(folder).config.layers] == [None, 9, 5]
    _edit(folder, sliding_window=[9])
    assert [layer.attention.window for layer in MistralCheckpoint(folder).config.layers] == [9, 9, 9]


def test_a_pattern_of_windows_has_two_names(folder: Path) -> None:
    """Ministral 8B's file says it under the second."""
    _edit(folder, _sliding_window=[None, 9, 5])
    assert [layer.attention.window for layer in MistralCheckpoint(folder).config.layers] == [None, 9, 5]
    _edit(folder, rope_theta=None)
    assert MistralCheckpoint(folder).config.layers[0].attention.rope.base == 1e4
    _edit(folder, sliding_window=7)
    assert [layer.attention.window for layer in MistralCheckpoint(folder).config.layers] == [7, 7, 7]


def test_the_first_models_have_a_rotary_base_by_their_window(folder: Path) -> None:
    _edit(folder, rope_theta=None)
    assert MistralCheckpoint(folder).config.layers[0].attention.rope.base == 1e6
    _edit(folder, sliding_window=4096)
    assert MistralCheckpoint(folder).config.layers[0].attention.rope.base == 1e4


@pytest.mark.parametrize(
    ("sizes", "experts", "base", "tokens"),
    [
        ((6144, 16384, 56), 8, 1e6, 65536),
        ((6144, 16384, 56), 0, 1e6, 32768),
        ((5120, 14336, 40), 0, 1e6, 131072),
        ((5120, 14336, 40), 0, 1e9, 131072),
        ((5120, 32768, 40), 0, 1e8, 32768),
        ((5120, 32768, 40), 0, 1e9, 131072),
        ((12288, 28672, 88), 0, 1e6, 131072),
        ((12288, 28672, 88), 0, 1e9, 131072),
        ((4096, 14336, 32), 8, 1e6, 32768),
    ],
    ids=[
        "Mixtral 8x22B",
        "Codestral 22B",
        "Nemo",
        "Pixtral 12B",
        "Small 3",
        "Small 3.1",
        "Large 2",
        "Pixtral Large",
        "Mixtral 8x7B",
    ],
)
def test_how_long_a_context_is_where_the_file_does_not_say(
    sizes: tuple[int, int, int], experts: int, base: float, tokens: int
) -> None:
    params: dict[str, Any] = dict(zip(("dim", "hidden_dim", "n_layers"), sizes, strict=True))
    params |= {"n_heads": 32, "n_kv_heads": 8, "head_dim": 128, "vocab_size": 32768, "norm_eps": 1e-5}
    params |= {"rope_theta": base}
    if experts:
        params["moe"] = {"num_experts": experts, "num_experts_per_tok": 2}
    assert _configure(Settings(params, "params.json")).context_tokens == tokens
    assert _configure(Settings(params | {"max_seq_len": 8192}, "params.json")).context_tokens == 8192


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "consolidated.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no consolidated weights"):
        MistralCheckpoint(folder)


class _Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_a_pickle_with_code_is_refused_and_not_run(pickled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"norm.weight": _Command()}, pickled)
    with pytest.raises(CheckpointError, match="would run code") as caught:
        MistralCheckpoint(pickled.parent)
    assert caught.value.hint
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("length", [0, 10, 1000, -2000])
def test_a_truncated_pickle_is_refused(pickled: Path, length: int) -> None:
    pickled.write_bytes(pickled.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"consolidated\.00\.pth"):
        MistralCheckpoint(pickled.parent)


def test_a_pickle_of_other_things_is_refused(pickled: Path) -> None:
    torch.save([torch.zeros(2)], pickled)
    with pytest.raises(CheckpointError, match="no table of tensors"):
        MistralCheckpoint(pickled.parent)
    pickled.write_bytes(pickle.dumps({"norm.weight": 1}))
    with pytest.raises(CheckpointError):
        MistralCheckpoint(pickled.parent)


def test_weights_split_for_several_gpus_are_refused(pickled: Path) -> None:
    (pickled.parent / "consolidated.01.pth").write_bytes(pickled.read_bytes())
    with pytest.raises(CheckpointError, match="is in two files") as caught:
        MistralCheckpoint(pickled.parent)
    assert "joined" in caught.value.hint
