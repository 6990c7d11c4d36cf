"""Layers that choose which tokens each query sees: the choice against a loop, and what is read of Mistral Large 4."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.architectures.mistral_large4 import MISTRAL_LARGE4
from model.architectures.settings import Settings
from model.cached_decoder import CachedDecoder
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.checkpoint.shapes import weight_shapes
from model.config import ModelConfig
from model.decoder import Decoder
from model.errors import CheckpointError
from model.kv_cache import KvCache, KvShape
from model.layers import indexed
from model.layers.indexed import IndexedAttention, Indexer, highest
from model.paged.spans import Steps
from tests.model.mistral_format import write_mistral
from tests.model.paged.models import DEVICE, paged, run_ragged, run_steady
from tests.model.tiny_hf import CASES, VOCABULARY, Case, count_parameters, hf_model, write_hf

TOKENS, CHOSEN = 40, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf(tmp_path_factory.mktemp("hf") / "tiny", CASES["mistral-large-4-shared"])


@pytest.fixture(scope="module")
def decoder(folder: Path) -> Decoder:
    checkpoint = open_folder(folder)
    return fill_decoder(checkpoint.config, checkpoint.weights())


def _highest(row: list[float], among: list[bool], count: int) -> list[bool]:
    """One row by sorting: the highest first, of equals the earliest."""
    order = sorted((place for place, taken in enumerate(among) if taken), key=lambda place: (-row[place], place))
    return [place in order[:count] for place in range(len(row))]


@pytest.mark.parametrize("count", [1, 3, 8, 12])
def test_the_highest_are_taken_and_of_equals_the_earliest(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    scores = torch.randint(-2, 3, (2, 30, 12), generator=generator).float()  # five values: most rows have ties
    among = torch.rand((2, 30, 12), generator=generator) < 0.6
    found = highest(scores, count, among=among).flatten(0, 1).tolist()
    rows = zip(scores.flatten(0, 1).tolist(), among.flatten(0, 1).tolist(), strict=True)
    assert found == [_highest(row, taken, count) for row, taken in rows]


def _indexer(decoder: Decoder, layer: int) -> Indexer:
    attention = decoder.layers[layer].attention
    assert isinstance(attention, IndexedAttention)
    return attention.indexer


def _inputs(decoder: Decoder, layer: int) -> dict[str, Tensor]:
    """Random hidden states of two texts, turned by random angles where the layer turns."""
    generator = torch.Generator().manual_seed(3)
    rotary = decoder.config.layers[layer].attention.rope.dimensions
    angles = torch.rand((2, 1, TOKENS, rotary // 2), generator=generator).repeat(1, 1, 1, 2)
    logarithms = torch.log1p(torch.arange(100, 100 + TOKENS).float())[None, None, :, None].expand(2, 1, -1, 1)
    x = torch.randn((2, TOKENS, decoder.config.hidden), generator=generator)
    return {"x": x, "cosines": angles.cos(), "sines": angles.sin(), "logarithms": logarithms}


def _turned(row: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """One vector, pair by pair."""
    turned, half = row.clone(), len(cosines) // 2
    for pair in range(half):
        first, second = row[pair], row[pair + half]
        turned[pair] = first * cosines[pair] - second * sines[pair]
        turned[pair + half] = second * cosines[pair] + first * sines[pair]
    return turned


def _chosen_by_loop(indexer: Indexer, text: int, inputs: dict[str, Tensor]) -> list[list[bool]]:
    """Of one text, by the definition: token by token, head by head."""
    x, cosines, sines = inputs["x"][text], inputs["cosines"][text, 0], inputs["sines"][text, 0]
    config = indexer.config
    keys = [_turned(indexer.k_norm(indexer.k_proj(x[at])), cosines[at], sines[at]) for at in range(TOKENS)]
    rows = []
    for at in range(TOKENS):
        query = indexer.q_proj(indexer.q_norm(x[at])).view(config.heads, config.dim)
        grown = indexer.growth.slope * inputs["logarithms"][text, 0, at] + indexer.growth.base
        heads = [_turned(query[head] * grown[head], cosines[at], sines[at]) for head in range(config.heads)]
        share = indexer.head_weights(x[at])
        scores = [
            float(sum(share[head] * max(heads[head] @ key, torch.zeros(())) for head in range(config.heads)))
            for key in keys
        ]
        rows.append(_highest(scores, [other <= at for other in range(TOKENS)], config.chosen))
    return rows


@pytest.mark.parametrize("layer", [0, 1], ids=["turning", "still"])
def test_the_choice_is_that_of_a_loop(layer: int, decoder: Decoder) -> None:
    indexer, inputs = _indexer(decoder, layer), _inputs(decoder, layer)
    seen = indexer(**inputs, mask=None, past=None)
    assert seen.shape == (2, 1, TOKENS, TOKENS)
    with torch.no_grad():
        assert seen[1, 0].tolist() == _chosen_by_loop(indexer, 1, inputs)
    assert seen.sum(-1).tolist() == [[[min(at + 1, CHOSEN) for at in range(TOKENS)]]] * 2


def test_queries_scored_in_parts_choose_the_same(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    indexer, inputs = _indexer(decoder, 0), _inputs(decoder, 0)
    whole = indexer(**inputs, mask=None, past=None)
    monkeypatch.setattr(indexed, "_MOST_SCORES", 2 * indexer.config.heads * TOKENS * 7)  # seven queries at a time
    assert torch.equal(indexer(**inputs, mask=None, past=None), whole)


def test_where_all_are_seen_nothing_is_scored(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    indexer, inputs = _indexer(decoder, 0), _inputs(decoder, 0)
    few = {name: part[:, :CHOSEN] if name == "x" else part[:, :, :CHOSEN] for name, part in inputs.items()}
    monkeypatch.setattr(Indexer, "choices", None)
    mask = torch.ones((1, 1, CHOSEN, CHOSEN), dtype=torch.bool).tril()
    assert indexer(**few, mask=mask, past=None) is mask
    assert indexer(**few, mask=None, past=None) is None


def test_documents_in_one_row_do_not_see_each_other(decoder: Decoder) -> None:
    ids = torch.randint(0, VOCABULARY, (1, 30), generator=torch.Generator().manual_seed(4))
    documents = torch.tensor([[0] * 12 + [1] * 18])
    positions = torch.tensor([[*range(12), *range(18)]])
    with torch.no_grad():
        packed = decoder(ids, positions=positions, documents=documents)
        apart = torch.cat((decoder(ids[:, :12]), decoder(ids[:, 12:])), 1)
    torch.testing.assert_close(packed, apart, rtol=0, atol=1e-4)


def test_index_keys_stay_when_a_cache_grows_and_is_copied() -> None:
    cache = KvCache(KvShape(layers=1, kv_heads=1, head_dim=2, index_layers=3, index_dim=4))
    cache.reserve(10)
    assert cache.size_bytes == cache.capacity_tokens * 4 * (1 * 2 * 2 + 3 * 4)
    keys = torch.randn((3, 10, 4), generator=torch.Generator().manual_seed(5))
    for held, own in zip(cache.index_keys, keys, strict=True):
        held[:10] = own
    cache.tokens = list(range(10))
    cache.reserve(cache.capacity_tokens + 1)
    other = KvCache(cache.shape)
    other.copy_prefix(cache, 7)
    assert torch.equal(torch.stack([held[:10] for held in cache.index_keys]), keys)
    assert torch.equal(torch.stack([held[:7] for held in other.index_keys]), keys[:, :7])


def test_a_layer_remembers_only_what_is_its_own(decoder: Decoder) -> None:
    shape = CachedDecoder(decoder).kv_shape
    assert (shape.layers, shape.index_layers, shape.index_dim) == (3, 3, 16)  # of six layers
    assert shape.bytes_per_token == 4 * (3 * (32 + 8) + 3 * 16)


def _text(**changes: Any) -> dict[str, Any]:
    """What HF makes of these keys, and the keys themselves, as a configuration of ours."""
    sizes = {"vocab_size": 8, "hidden_size": 8, "max_position_embeddings": 64}
    made = transformers.MistralLarge4TextConfig(**sizes, **changes).to_dict()
    lists = ("mlp_layer_types", "indexer_types", "no_rope_layers", "kv_source_layers", "layer_types")
    return {key: value for key, value in made.items() if key not in lists} | sizes | changes


def _configured(text: dict[str, Any]) -> ModelConfig:
    return MISTRAL_LARGE4.configure(Settings({"model_type": "mistral_large4", "text_config": text}, "config.json"))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 9},
        {"num_hidden_layers": 9, "index_topk_freq": 4},
        {"num_hidden_layers": 9, "index_topk_freq": 3, "index_skip_topk_offset": 1, "no_rope_layer_interval": 3},
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "index_topk_freq": 2, "index_topk_pattern": "FFS"},
        {"num_hidden_layers": 2, "first_k_dense_replace": 5, "no_rope_layers": [0, 1, 1, 1]},
    ],
)
def test_what_lists_do_not_say_is_as_hf_has_it(changes: dict[str, Any]) -> None:
    theirs = transformers.MistralLarge4TextConfig(**changes)
    layers = _configured(_text(**changes)).layers
    assert ["sparse" if layer.mlp.router else "dense" for layer in layers] == theirs.mlp_layer_types
    indexes = [layer.attention.index for layer in layers]
    assert ["full" if index and index.own else "shared" for index in indexes] == theirs.indexer_types
    turns = [int(layer.attention.rope.dimensions > 0) for layer in layers]
    assert turns == list(theirs.no_rope_layers)[: len(layers)]
    latents = [layer.attention.latent for layer in layers]
    assert all(latent is not None and latent.own and latent.shared is None for latent in latents)


def test_at_its_full_size_it_has_as_many_numbers_as_hfs() -> None:
    """By the sizes that HF gives it where a file gives none."""
    config = transformers.MistralLarge4Config()
    ours = MISTRAL_LARGE4.configure(Settings(config.to_dict(), "config.json"))
    with torch.device("meta"):
        theirs = transformers.MistralLarge4ForConditionalGeneration(config)
    assert sum(map(prod, weight_shapes(ours).values())) == count_parameters(theirs) == 1_050_118_202_912


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_parameters": None}, "None for rope_parameters"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"n_group": 2}, "n_group 2"),
        ({"norm_topk_prob": False}, "norm_topk_prob False"),
        ({"index_topk": 0}, "0 for index_topk"),
        ({"index_n_heads": 0}, "0 for index_n_heads"),
        ({"index_head_dim": 4}, "4 for index_head_dim"),
        ({"final_logit_softcapping": 0}, "0 for final_logit_softcapping"),
        ({"mlp_layer_types": ["dense"]}, "for mlp_layer_types"),
        ({"mlp_layer_types": ["dense"] * 3 + ["full"]}, "for mlp_layer_types"),
        ({"indexer_types": ["shared", "full", "full", "full"]}, "for indexer_types"),
        ({"index_topk_freq": 2, "index_skip_topk_offset": 0}, "for indexer_types"),
        ({"index_topk_freq": 1, "index_topk_pattern": "FFSS"}, "index_topk_pattern 'FFSS'"),
        ({"no_rope_layers": [1, 1, 1]}, "for no_rope_layers"),
        ({"no_rope_layer_interval": 0}, "0 for no_rope_layer_interval"),
        ({"kv_source_layers": [0, 1, 2]}, "for kv_source_layers"),
        ({"kv_source_layers": [0, 2, 2, 3]}, "layer 1 attend to what 2 remembers"),
        ({"kv_source_layers": [0, 0, 1, 3]}, "layer 2 attend to what 1 remembers"),
        ({"kv_source_layers": [0, 1, 1, 1]}, "layer 3 attend to what 1 remembers"),  # which turns, and 3 does not
        ({"kv_source_layers": [0, 1, 0, 1], "no_rope_layers": [1] * 4}, "layer 2 attend to what 0 remembers"),
    ],
)
def test_other_blocks_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        _configured(_text(num_hidden_layers=4) | changes)
    assert caught.value.hint


@pytest.mark.parametrize("shard", ["60KB", "50GB"])
def test_shards_and_one_file_give_hfs_logits(shard: str, tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "tiny", CASES["mistral-large-4"], shard=shard)
    assert (len(list(folder.glob("*.safetensors"))) > 2) == (shard == "60KB")
    checkpoint, ids = open_folder(folder), torch.arange(3, 43)[None]
    with torch.no_grad():
        ours = fill_decoder(checkpoint.config, checkpoint.weights())
        theirs = hf_model(folder)(ids).logits
        torch.testing.assert_close(ours.head(ours(ids)), theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_the_learned_frequencies_must_be_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    del tensors["lerope.alpha"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing lerope\.alpha") as caught:
        open_folder(tmp_path).check()
    assert caught.value.hint


def test_layers_that_guess_ahead_are_passed_over(folder: Path, decoder: Decoder, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    tensors = load_file(tmp_path / "model.safetensors") | {"mtp_dspark.layers.0.weight": torch.zeros(3)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = open_folder(tmp_path)
    checkpoint.check()
    assert {name for name, _ in checkpoint.weights()} == set(decoder.state_dict())


def test_mistrals_own_configuration_of_it_is_refused(tmp_path: Path) -> None:
    """Its tensors' names are known, its keys in `params.json` are not."""
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mistral-small-4"]), tmp_path / "mistral")
    path = next(folder.glob("consolidated*.safetensors"))
    save_file(load_file(path) | {"lerope.alpha": torch.zeros(4)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="Mistral Large 4") as caught:
        open_folder(folder)
    assert "config.json" in caught.value.hint


def test_the_logits_are_capped(decoder: Decoder) -> None:
    hidden = 1000 * torch.randn((3, decoder.config.hidden), generator=torch.Generator().manual_seed(6))
    free = Decoder.head(_uncapped(decoder), hidden)
    with torch.no_grad():
        capped = decoder.head(hidden)
    assert float(free.abs().max()) > 100
    torch.testing.assert_close(capped, 2.0 * torch.tanh(free / 2.0))


def _uncapped(decoder: Decoder) -> Decoder:
    with torch.device("meta"):
        other = Decoder(replace(decoder.config, logit_cap=None))
    other.load_state_dict(decoder.state_dict(), assign=True)
    return other.eval().requires_grad_(False)


LENGTH, PART, STEPS, CHECKED = 6000, 512, 8, 24


def test_a_text_of_6000_tokens_in_parts_and_steps_is_the_whole(tmp_path: Path) -> None:
    """Over pages, the last few tokens in steps of fixed shape. One layer, since a choice that rounding moves would move
    what all layers behind it choose from."""
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 1, "index_n_heads": 4, "index_topk": 64}
    lists = {"mlp_layer_types": ["dense"], "max_position_embeddings": 8192}
    case = CASES["mistral-large-4"]
    checkpoint = open_folder(write_hf(tmp_path / "tiny", Case(case.config, case.settings | sizes | lists)))
    decoder = fill_decoder(checkpoint.config, checkpoint.weights()).to(DEVICE)
    ids: list[int] = torch.randint(0, VOCABULARY, (LENGTH,), generator=torch.Generator().manual_seed(7)).tolist()
    parts = [ids[start : min(start + PART, LENGTH - STEPS)] for start in range(0, LENGTH - STEPS, PART)]
    made, caches = paged(decoder, pages=100)
    cache = caches.acquire(ids)
    found = [run_ragged(made, caches, [(cache, part)])[0] for part in parts]
    steps = Steps(2, 2, most_tokens=8192, device=DEVICE)
    for start in range(LENGTH - STEPS, LENGTH, 2):
        found += run_steady(made, caches, steps, [(cache, ids[start : start + 2])])
    with torch.no_grad():
        expected = decoder(torch.tensor([ids], device=DEVICE))[0, -CHECKED:]
    torch.testing.assert_close(torch.cat(found)[-CHECKED:], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
