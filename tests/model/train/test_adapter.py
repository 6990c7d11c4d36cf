"""Adapter files: what is saved is what is merged, and merging gives the model that was trained."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.decoder import Decoder
from model.errors import AdapterError
from model.train.adapter import Adapter, AdapterInfo, load_adapter, merge
from model.train.packed import PackedDecoder

BASE = "ab" * 32


def trained_adapter(model: PackedDecoder) -> Adapter:
    """An adapter with weights that are not zero."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.trained().items():
            if name.endswith(".b"):
                parameter.normal_(std=0.3)
            # As the file keeps them, so that what is compared differs by the merge alone.
            parameter.copy_(parameter.to(torch.bfloat16).float())
        model.special_rows += 1.0
        model.special_rows.copy_(model.special_rows.to(torch.bfloat16).float())
    model.refresh()
    info = AdapterInfo(base_sha256=BASE, rank=4, scale=0.5, family="tersely", special_ids=model.special_ids, note="n")
    return Adapter(info, dict(model.low_rank_updates()), model.special_rows.detach())


def test_the_merged_decoder_is_the_trained_one(decoder: Decoder, tmp_path: Path) -> None:
    merged, untouched = copy.deepcopy(decoder), copy.deepcopy(decoder)
    model = PackedDecoder(decoder, rank=4, scale=0.5, special_ids=(257, 258), seed=0)
    adapter = trained_adapter(model)
    adapter.save(tmp_path / "adapter.safetensors")
    loaded = load_adapter(tmp_path / "adapter.safetensors")
    assert loaded.info == adapter.info
    merge(merged, loaded, base_sha256=BASE)
    tokens = torch.tensor([258, 10, 20, 257, 30])
    with torch.no_grad():
        expected = merged(tokens[None])[0]
        torch.testing.assert_close(model(tokens, (5,)).float(), expected, rtol=0, atol=0.1)  # bfloat16 against float32
        assert not torch.allclose(untouched(tokens[None])[0], expected, atol=0.5)


def test_another_base_is_refused(decoder: Decoder, tmp_path: Path) -> None:
    model = PackedDecoder(copy.deepcopy(decoder), rank=4, scale=0.5, special_ids=(257,), seed=0)
    with pytest.raises(AdapterError, match="made for the model file abababababab"):
        merge(decoder, trained_adapter(model), base_sha256="cd" * 32)


def test_shapes_that_do_not_fit_are_refused(decoder: Decoder) -> None:
    info = AdapterInfo(base_sha256=BASE, rank=2, scale=1.0, family="tersely")
    adapter = Adapter(info, {"layers.0.mlp.up_proj": (torch.zeros(2, 5), torch.zeros(5, 2))})
    with pytest.raises(AdapterError, match=r"no projection .* of that shape"):
        merge(decoder, adapter, base_sha256=BASE)


def test_files_that_are_no_adapters_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    with pytest.raises(AdapterError, match="not a readable adapter"):
        load_adapter(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(AdapterError, match="not a readable adapter"):
        load_adapter(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(AdapterError, match="not an adapter of tersely"):
        load_adapter(path)
