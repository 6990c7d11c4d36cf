"""Adapters merged while loading equal adapters merged into the whole decoder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder, read_config, read_weights
from model.errors import AdapterError
from model.local import LocalEngine
from model.merge import AdapterMerge
from model.train.adapter import Adapter, AdapterInfo, merge

Updates = dict[str, tuple[torch.Tensor, torch.Tensor]]


def _adapter(sha256: str, updates: Updates, *, rows: torch.Tensor | None = None) -> Adapter:
    info = AdapterInfo(base_sha256=sha256, rank=4, scale=0.5, family="tersely", special_ids=(2, 4))
    return Adapter(info, updates, rows)


def _update(outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(4, inputs), torch.randn(outputs, 4)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_weight_by_weight_equals_the_whole(tiny_file: GgufFile, tiny_path: Path) -> None:
    updates = {"layers.0.attention.q_proj": _update(64, 64), "layers.2.mlp.down_proj": _update(64, 96)}
    adapter = _adapter("same", updates, rows=torch.randn(2, 64))
    whole = load_decoder(tiny_file)
    merge(whole, adapter, base_sha256="same")
    streamed = AdapterMerge(adapter, base_sha256="same", base=tiny_path)
    expected = whole.state_dict()
    for name, weight in read_weights(tiny_file, read_config(tiny_file)):
        torch.testing.assert_close(streamed(name, weight), expected[name], rtol=0, atol=1e-6)
    streamed.check_complete()


@pytest.mark.parametrize(
    "updates",
    [{"layers.9.mlp.up_proj": _update(96, 64)}, {"layers.0.mlp.up_proj": _update(64, 64)}],
    ids=["no such layer", "wrong shape"],
)
def test_an_adapter_that_does_not_fit_is_refused(updates: Updates, tiny_file: GgufFile, tiny_path: Path) -> None:
    streamed = AdapterMerge(_adapter("same", updates), base_sha256="same", base=tiny_path)

    def load() -> None:
        for name, weight in read_weights(tiny_file, read_config(tiny_file)):
            streamed(name, weight)
        streamed.check_complete()

    with pytest.raises(AdapterError, match=next(iter(updates))) as caught:
        load()
    assert caught.value.hint


async def test_the_engine_loads_with_an_adapter_and_takes_its_family(tiny_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    _adapter(_sha256(tiny_path), {"layers.1.mlp.up_proj": _update(96, 64)}).save(path)
    engine = LocalEngine.load(tiny_path, adapter=path, threads=1)
    assert (await engine.info()).fim_family == "tersely"
    await engine.aclose()


def test_an_adapter_of_another_base_is_refused(tiny_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    _adapter("0" * 64, {"layers.1.mlp.up_proj": _update(96, 64)}).save(path)
    with pytest.raises(AdapterError, match="another model file"):
        LocalEngine.load(tiny_path, adapter=path, threads=1)
