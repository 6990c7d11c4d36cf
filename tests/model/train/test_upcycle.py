"""Upcycling: nothing changes at first, experts learn and part, and the reference mixture computes what was trained."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.api import GenerateRequest, SamplingParams
from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder
from model.decoder import Decoder
from model.errors import AdapterError, UsageError
from model.layers.mixture import Mixture
from model.local import LocalEngine
from model.train.adapter import load_adapter, merge
from model.train.cli import TrainOptions, train
from model.train.experts import PROJECTIONS, ExpertMlp
from model.train.loop import Limits, LoopConfig
from model.train.packed import PackedDecoder
from model.train.upcycle import MixtureFile, UpcycleConfig, load_mixture, materialize, upcycle
from tests.model.train.test_cli import base, repository  # noqa: F401 - fixtures

TOKENS, LENGTHS = torch.tensor([258, 10, 20, 257, 30, 7, 8]), (3, 4)
CONFIGS = [UpcycleConfig(rank=2), UpcycleConfig(experts=3, chosen=1, every=1, rank=2, scale=0.5)]


def dense(decoder: Decoder) -> PackedDecoder:
    """A model with updates that are not zero."""
    model = PackedDecoder(copy.deepcopy(decoder), rank=4, scale=1.0, special_ids=(257, 258), seed=0)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.trained().items():
            if name.endswith(".b"):
                parameter.normal_(std=0.2)
    model.refresh()
    return model


def tensors(model: PackedDecoder) -> dict[str, torch.Tensor]:
    return {name.removeprefix("decoder."): one.detach().clone() for name, one in model.trained().items()}


def merged(model: PackedDecoder, decoder: Decoder) -> Decoder:
    """The reference decoder with the model's updates."""
    whole = copy.deepcopy(decoder)
    weights = dict(whole.named_parameters())
    with torch.no_grad():
        for name, (a, b) in model.low_rank_updates():
            weights[f"{name}.weight"] += b @ a
    return whole


@pytest.mark.parametrize("config", CONFIGS)
def test_the_mixture_equals_the_dense_model_before_the_first_step(decoder: Decoder, config: UpcycleConfig) -> None:
    model = dense(decoder)
    whole = merged(model, decoder)
    with torch.no_grad():
        expected = model(TOKENS, LENGTHS)
        upcycle(model, config, seed=0)
        torch.testing.assert_close(model(TOKENS, LENGTHS), expected, rtol=0, atol=0)
        mixture = materialize(whole, MixtureFile("", "", config, tensors(model)))
        torch.testing.assert_close(mixture(TOKENS[None]), whole(TOKENS[None]), rtol=1e-5, atol=1e-5)
    kinds = [isinstance(layer.mlp, Mixture) for layer in mixture.layers]
    assert kinds == [config.upcycled(number) for number in range(2)]


@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_trained_equals_the_reference_mixture(decoder: Decoder, config: UpcycleConfig) -> None:
    model = dense(decoder)
    whole = merged(model, decoder)
    upcycle(model, config, seed=0)
    torch.manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.trained().items():
            if name.endswith(".b"):
                parameter.normal_()
            elif "router" in name:
                parameter.mul_(50)  # so that rounding chooses no other expert
        model.refresh()
        mixture = materialize(whole, MixtureFile("", "", config, tensors(model)))
        documents = torch.tensor([[0] * 3 + [1] * 4])
        positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
        expected = mixture(TOKENS[None], positions=positions, documents=documents)[0]
        found = model(TOKENS, LENGTHS).float()
    assert not torch.allclose(whole(TOKENS[None], positions=positions, documents=documents)[0], expected, atol=0.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1)  # bfloat16 of values up to 4


def test_routers_and_experts_alone_learn(decoder: Decoder) -> None:
    model = dense(decoder)
    upcycle(model, CONFIGS[0], seed=0)
    assert {name.split(".")[4] for name in model.trained()} == {"router", "experts"}
    assert len(model.trained()) == 1 + 4 * 3 * 2
    loss = model(TOKENS, LENGTHS).float().square().sum() + model.auxiliary()
    loss.backward()
    for name, parameter in model.named_parameters():
        if name not in model.trained():
            assert parameter.grad is None, name
    layer = model.decoder.layers[1]
    assert isinstance(layer.mlp, ExpertMlp)
    slope = layer.mlp.router.weight.grad
    assert slope is not None
    assert slope.abs().sum() > 0


def test_balance_is_one_when_even_and_the_number_of_experts_at_worst() -> None:
    weights = {name: torch.randn(6, 4) if name != "down_proj" else torch.randn(4, 6) for name in PROJECTIONS}
    config = UpcycleConfig(chosen=1)
    mlp = ExpertMlp(weights, router=config.router, rank=1, scale=1.0, generator=torch.Generator().manual_seed(0))
    rows = torch.eye(4, dtype=torch.bfloat16)
    with torch.no_grad():
        mlp.router.weight.copy_(torch.eye(4) * 50)
        mlp(rows)
        assert mlp.balance is not None
        assert float(mlp.balance) == pytest.approx(1.0)
        mlp(rows[:1].expand(4, 4))
        assert float(mlp.balance) == pytest.approx(4.0)


def test_a_run_upcycles_resumes_and_leaves_a_small_file(base: Path, repository: Path, tmp_path: Path) -> None:  # noqa: F811
    loop = LoopConfig(rank=2, learning_rate=1e-2, batch_tokens=800, micro_tokens=800, warmup_steps=1)
    options = TrainOptions(
        out=tmp_path / "dense", repository=repository, model=str(base), loop=loop, limits=Limits(steps=2)
    )
    train(options)
    adapter = tmp_path / "dense" / "adapter.safetensors"
    config = UpcycleConfig(rank=3)
    run = replace(options, out=tmp_path / "mixed", start=adapter, mixture=config)
    assert train(run).step == 2
    assert train(replace(run, limits=Limits(steps=3))).step == 3
    mixture = load_mixture(tmp_path / "mixed" / "mixture.safetensors")
    assert mixture.config == config
    assert mixture.adapter_sha256 == hashlib.sha256(adapter.read_bytes()).hexdigest()
    with GgufFile(base) as file:
        whole = load_decoder(file)
    merge(whole, load_adapter(adapter), base_sha256=mixture.base_sha256)
    ids = torch.tensor([[2, 40, 41, 3, 50]])
    with torch.no_grad():
        assert not torch.allclose(materialize(whole, mixture)(ids), whole(ids), atol=1e-4)
    assert (tmp_path / "mixed" / "adapter.safetensors").read_bytes() == adapter.read_bytes()
    with pytest.raises(UsageError, match="trains other weights"):
        train(replace(run, mixture=replace(config, experts=3)))
    with pytest.raises(UsageError, match="made of a trained model"):
        train(replace(run, start=None))


async def test_the_engine_serves_the_mixture_that_was_trained(base: Path, repository: Path, tmp_path: Path) -> None:  # noqa: F811
    loop = LoopConfig(rank=2, learning_rate=1e-2, batch_tokens=800, micro_tokens=800, warmup_steps=1, rounding="int4")
    dense = TrainOptions(
        out=tmp_path / "dense", repository=repository, model=str(base), loop=loop, limits=Limits(steps=2)
    )
    train(dense)
    start = tmp_path / "dense" / "adapter.safetensors"
    train(replace(dense, out=tmp_path / "mixed", start=start, mixture=UpcycleConfig(rank=2)))
    path = tmp_path / "mixed" / "mixture.safetensors"
    mixture = load_mixture(path)
    # Experts that part enough to be told from the dense block, and routers that leave no near ties.
    louder = {"b": 30, "weight": 50}
    for name, one in mixture.tensors.items():
        mixture.tensors[name] = one * louder.get(name.rpartition(".")[2], 1)
    mixture.save(path)
    with GgufFile(base) as file:
        whole = load_decoder(file)
    merge(whole, load_adapter(start), base_sha256=mixture.base_sha256)  # not rounded, as in training
    ids = (2, 40, 41, 3, 50)
    with torch.no_grad():
        mixed, plain = (
            torch.log_softmax(one.head(one(torch.tensor([ids]))[0, -1]), -1)
            for one in (materialize(whole, mixture), whole)
        )
    assert float((mixed - plain).abs().max()) > 0.05
    engine = LocalEngine.load(base, adapter=path, dtype="float32", quantize="none", threads=1)
    request = GenerateRequest(prompt=ids, sampling=SamplingParams(max_tokens=1, logprobs=0))
    (first, *_) = [one async for chunk in engine.generate(request) for one in chunk.logprobs]
    await engine.aclose()
    assert first.token_id == int(mixed.argmax())
    assert first.logprob == pytest.approx(float(mixed.max()), abs=5e-4)
    (tmp_path / "mixed" / "adapter.safetensors").unlink()
    with pytest.raises(AdapterError, match="made of an adapter that is not here"):
        LocalEngine.load(base, adapter=path)


def test_the_embedded_models_mixture_fits_in_25_megabytes() -> None:
    config, layers, hidden, inner = UpcycleConfig(), 30, 576, 1536
    mixed = sum(config.upcycled(number) for number in range(layers))
    updates = mixed * config.experts * 3 * config.rank * (hidden + inner) * 2
    routers = mixed * config.experts * hidden * 4
    assert mixed == 15
    assert updates + routers < 25e6


def test_files_that_are_no_mixtures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mixture.safetensors"
    with pytest.raises(AdapterError, match="not a readable mixture"):
        load_mixture(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(AdapterError, match="not a mixture of tersely"):
        load_mixture(path)
