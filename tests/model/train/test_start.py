"""Runs that start from an adapter: nothing is lost at the start, and what comes out fits the same base."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.decoder import Decoder
from model.errors import AdapterError, UsageError
from model.train import start
from model.train.adapter import Adapter, load_adapter
from model.train.cli import TrainOptions, train
from model.train.loop import Limits, LoopConfig
from model.train.packed import PackedDecoder
from model.train.start import record, require_trainable, shipped_adapter, start_from, usual_rank
from tests.model import tiny
from tests.model.train.test_adapter import BASE, trained_adapter
from tests.model.train.test_cli import base, repository  # noqa: F401 - fixtures

TOKENS, LENGTHS = torch.tensor([258, 10, 20, 257, 30]), (5,)


def fresh(decoder: Decoder, *, rank: int | None, scale: float = 1.0) -> PackedDecoder:
    return PackedDecoder(copy.deepcopy(decoder), rank=rank, scale=scale, special_ids=(257, 258), seed=9)


@pytest.fixture
def before(decoder: Decoder) -> tuple[PackedDecoder, Adapter]:
    """A trained model, and its adapter of rank 4 and scale 0.5."""
    model = PackedDecoder(copy.deepcopy(decoder), rank=4, scale=0.5, special_ids=(257, 258), seed=0)
    return model, trained_adapter(model)


@pytest.mark.parametrize(("rank", "scale"), [(4, 0.5), (4, 1.0), (7, 2.0)])
def test_a_run_begins_as_the_adapter_left_the_model(
    decoder: Decoder, before: tuple[PackedDecoder, Adapter], rank: int, scale: float
) -> None:
    trained, adapter = before
    model = fresh(decoder, rank=rank, scale=scale)
    with torch.no_grad():
        assert not torch.allclose(model(TOKENS, LENGTHS), trained(TOKENS, LENGTHS), atol=0.5)
        start_from(model, adapter, base_sha256=BASE)
        torch.testing.assert_close(model(TOKENS, LENGTHS), trained(TOKENS, LENGTHS), rtol=0, atol=0.05)  # bfloat16


def test_factors_that_fill_up_a_higher_rank_can_learn(decoder: Decoder, before: tuple[PackedDecoder, Adapter]) -> None:
    model = fresh(decoder, rank=6)
    start_from(model, before[1], base_sha256=BASE)
    model(TOKENS, LENGTHS).float().square().sum().backward()
    gradient = model.get_parameter("decoder.layers.0.mlp.up_proj.b").grad
    assert gradient is not None
    assert gradient[:, 4:].abs().sum() > 0


def test_adapters_that_do_not_fit_are_refused(decoder: Decoder, before: tuple[PackedDecoder, Adapter]) -> None:
    _, adapter = before
    with pytest.raises(UsageError, match="rank 4, more than 3"):
        start_from(fresh(decoder, rank=3), adapter, base_sha256=BASE)
    with pytest.raises(UsageError, match="Whole weights"):
        start_from(fresh(decoder, rank=None), adapter, base_sha256=BASE)
    with pytest.raises(AdapterError, match="made for the model file abab"):
        start_from(fresh(decoder, rank=4), adapter, base_sha256="cd" * 32)
    other = Adapter(replace(adapter.info, family="qwen"), adapter.updates, adapter.rows)
    with pytest.raises(AdapterError, match="another prompt layout"):
        start_from(fresh(decoder, rank=4), other, base_sha256=BASE)
    wrong = Adapter(adapter.info, {"layers.9.mlp.up_proj": (torch.zeros(2, 5), torch.zeros(5, 2))}, adapter.rows)
    with pytest.raises(AdapterError, match=r"no projection layers\.9"):
        start_from(fresh(decoder, rank=4), wrong, base_sha256=BASE)


def test_a_second_run_trains_on_the_first_ones_adapter(base: Path, repository: Path, tmp_path: Path) -> None:  # noqa: F811
    loop = LoopConfig(rank=2, learning_rate=1e-2, batch_tokens=800, micro_tokens=800, warmup_steps=1)
    first = TrainOptions(
        out=tmp_path / "first", repository=repository, model=str(base), loop=loop, limits=Limits(steps=8)
    )
    train(first)
    given = tmp_path / "first" / "adapter.safetensors"
    assert usual_rank(tmp_path / "second", given) == 2
    second = replace(
        first, out=tmp_path / "second", start=given, loop=replace(loop, rank=3, seed=5), limits=Limits(steps=1)
    )
    train(second)
    assert usual_rank(tmp_path / "second", None) == 3
    adapter = load_adapter(tmp_path / "second" / "adapter.safetensors")
    assert adapter.info.base_sha256 == hashlib.sha256(base.read_bytes()).hexdigest()
    old, new = (load_adapter(tmp_path / run / "adapter.safetensors") for run in ("first", "second"))
    name = "layers.0.mlp.up_proj"
    ways = old.delta(name).flatten(), new.delta(name).flatten()
    assert torch.nn.functional.cosine_similarity(*ways, dim=0) > 0.7  # one step on from eight
    train(replace(second, start=None, limits=Limits(steps=2)))  # goes on
    with pytest.raises(UsageError, match="did not start from"):
        train(replace(second, start=tmp_path / "second" / "adapter.safetensors", limits=Limits(steps=3)))
    with pytest.raises(UsageError, match="trains rank 3, not 2"):
        train(replace(second, loop=loop))


def test_a_record_is_kept_as_it_was(tmp_path: Path) -> None:
    adapter = tmp_path / "a.safetensors"
    adapter.write_bytes(b"a")
    record(tmp_path / "run", adapter)
    (tmp_path / "run" / "last.pt").touch()
    record(tmp_path / "run", adapter)
    record(tmp_path / "run", None)
    adapter.write_bytes(b"b")
    with pytest.raises(UsageError, match="did not start from"):
        record(tmp_path / "run", adapter)


def test_models_that_cannot_be_trained_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        require_trainable(tmp_path)
    with pytest.raises(UsageError, match="has no tokens <issue_comment>, <issue_start>"):
        require_trainable(tiny.write_tiny(tmp_path / "other.gguf"))
    mixed = tiny.write_tiny(tmp_path / "mixed.gguf", metadata={"llama.expert_count": 8})
    with pytest.raises(UsageError, match="not a dense model"):
        require_trainable(mixed)


def test_named_models_may_bring_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped_adapter("some/file.gguf") is None
    row = replace(start.MODELS["smollm2-135m"], adapter="nothing-of-that-name.safetensors")
    monkeypatch.setitem(start.MODELS, "smollm2-135m", row)
    assert shipped_adapter("smollm2-135m") is None
    there = tmp_path / "fim.safetensors"
    there.touch()
    monkeypatch.setitem(start.MODELS, "smollm2-135m", replace(row, adapter=str(there)))
    assert shipped_adapter("smollm2-135m") == there
