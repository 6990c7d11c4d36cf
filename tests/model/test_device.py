"""Devices by name, and weights that go to one packed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.device import device_dtype, free_bytes, pick_device, pick_devices, settle_on
from model.errors import UsageError
from model.experts.projection import QuantizedProjection
from model.experts.quantized import QuantizedStack
from model.linear import GROUP, dequantize_int4, quantize_int4
from model.local import LocalEngine
from model.on_device import LoadedOnDevice, check_format, fill_on_device, plan_slots, weigh
from model.open_model import open_on_device
from model.packer import Quantize, is_packed
from model.runners import Runs, make_runner
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny_hf import CASES, VOCABULARY, Case, write_hf

CPU = torch.device("cpu")


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda:0")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="no device cuda:2: torch can use 2 GPUs"):
        pick_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU


def test_a_device_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_devices("cpu", 3) == (CPU,) * 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("auto", "cuda"):
        assert pick_devices(name, 2) == (torch.device("cuda:0"), torch.device("cuda:1"))
    assert pick_devices("cuda:1", 1) == (torch.device("cuda:1"),)
    for name, processes, message in (("auto", 3, "3 processes need a GPU each: torch can use 2"), ("cuda:1", 2, "one")):
        with pytest.raises(UsageError, match=message) as caught:
            pick_devices(name, processes)
        assert caught.value.hint


async def test_a_gpu_that_is_not_the_first_is_meant_by_every_thread_that_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels, streams and captures go to the thread's own device, which is the first one where nobody says."""
    told: list[tuple[str, object]] = []

    def make(*args: Any, **options: Any) -> tuple[Runs, int, int]:
        told.append((threading.current_thread().name, "runner"))
        return make_runner(*args, **options)

    second, here = torch.device("cuda:1"), threading.current_thread().name
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["llama-2"]))
    loaded, tokenizer = open_on_device(folder, CPU, dtype=torch.float32, quantize=Quantize.NONE, room_bytes=10**9)
    monkeypatch.setattr(LoadedOnDevice, "device", second)
    monkeypatch.setattr(torch.cuda, "set_device", lambda one: told.append((threading.current_thread().name, one)))
    monkeypatch.setattr("model.local.make_runner", make)
    await LocalEngine(loaded, tokenizer, name="second").aclose()
    assert told == [(here, second), (here, "runner"), ("tersely-engine", second)]
    settle_on(CPU)
    assert len(told) == 3


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "", "cuda:-1"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no kind of device") as caught:
        pick_device(name)
    assert caught.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_machine_without_a_gpu_says_so() -> None:
    with pytest.raises(UsageError, match="no device cuda: torch can use 0 GPUs") as caught:
        pick_device("cuda")
    assert "--device cpu" in caught.value.hint


def test_types_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda:0")
    for capability, dtype in (((7, 5), torch.float16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, capability=capability: capability)
        assert device_dtype(cuda, "auto") is dtype
    assert device_dtype(cuda, "float32") is torch.float32
    with pytest.raises(UsageError, match="no dtype 'int3'"):
        device_dtype(cuda, "int3")
    assert free_bytes(CPU) > 0


def test_formats_of_a_gpu() -> None:
    assert check_format("auto", CPU) == "none"
    for quantize in ("none", "int8", "int4", "fp8", "fp8-block"):
        assert check_format(quantize, CPU) == quantize


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0)])
def test_a_gpu_without_units_for_fp8_says_so(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton compiles no e4m3 for them: better said before anything is loaded."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    cuda = torch.device("cuda:0")
    assert check_format("int8", cuda) == "int8"
    assert check_format("int4", cuda) == "int4"
    for quantize in ("fp8", "fp8-block"):
        if capability >= (8, 9):
            assert check_format(quantize, cuda) == quantize
            continue
        with pytest.raises(UsageError, match="no units for fp8") as caught:
            check_format(quantize, cuda)
        assert "int8" in caught.value.hint


@pytest.mark.parametrize("case", ["mixtral", "deepseek-v2", "gpt-oss", "llama-2"])
@pytest.mark.parametrize("quantize", ["none", "int8", "fp8"])
def test_packed_weights_stay_close(case: str, quantize: str, tmp_path: Path) -> None:
    """Logits move by little in half of the rows at least; in others a router chooses another expert, whose weights,
    being random, agree with nobody's. The bound is relative to the largest logit."""
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "m", CASES[case]))
    plain = fill_decoder(checkpoint.config, checkpoint.weights())
    found = fill_on_device(checkpoint.config, checkpoint.weights(), device=CPU, dtype=torch.float32, quantize=quantize)
    ids = torch.randint(0, VOCABULARY, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, logits = plain.head(plain(ids)), found.head(found(ids))
    bound = {"none": 1e-5, "int8": 0.03, "fp8": 0.25}[quantize]
    assert (logits - wanted).abs().amax(-1).median() < bound * wanted.abs().max()
    kinds = {type(module) for module in found.modules()}
    assert (QuantizedProjection in kinds) == (quantize != "none")
    assert (QuantizedStack in kinds) == (quantize != "none" and case != "llama-2")


def test_blocks_of_128_inputs_share_a_scale(tmp_path: Path) -> None:
    """Where rows fall into such blocks; those of other lengths stay as they are."""
    case = CASES["mixtral"]
    wide = Case(case.config, case.settings | {"hidden_size": 256, "head_dim": 16})
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "m", wide))
    plain = fill_decoder(checkpoint.config, checkpoint.weights())
    found = fill_on_device(
        checkpoint.config, checkpoint.weights(), device=CPU, dtype=torch.float32, quantize="fp8-block"
    )
    mixture = found.layers[0].mlp
    assert isinstance(mixture.gate_proj, QuantizedStack)
    assert mixture.gate_proj.scale.shape == (8, 64, 2)
    assert not isinstance(mixture.down_proj, QuantizedStack)  # 64 inputs
    ids = torch.randint(0, VOCABULARY, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, logits = plain.head(plain(ids)), found.head(found(ids))
    assert 0 < (logits - wanted).abs().amax(-1).median() < 0.25 * wanted.abs().max()


def _in_groups_of_32(name: str, folder: Path) -> Checkpoint:
    """A tiny model whose matrices' inputs fall into such groups, but for some."""
    case = CASES[name]
    return HuggingFaceCheckpoint(write_hf(folder / "m", Case(case.config, case.settings | {"hidden_size": 64})))


def _eight_bits(weight: Tensor) -> Tensor:
    scales = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scales).round() * scales


@pytest.mark.parametrize("case", ["mixtral", "deepseek-v2", "gpt-oss", "llama-2"])
def test_four_bits_are_those_of_the_cpus_format(case: str, tmp_path: Path) -> None:
    """The logits are those of the same model with every matrix rounded to that format's grid, or to int8's, where its
    inputs do not fall into groups."""
    checkpoint = _in_groups_of_32(case, tmp_path)

    def on_grids() -> Iterator[tuple[str, Tensor]]:
        for name, weight in checkpoint.weights():
            if is_packed(name):
                flat = weight.float().reshape(-1, weight.shape[-1])
                fits = flat.shape[1] % GROUP == 0
                rounded = dequantize_int4(*quantize_int4(flat)) if fits else _eight_bits(flat)
                weight = rounded.view(weight.shape)
            yield name, weight

    expected = fill_decoder(checkpoint.config, on_grids())
    plain = fill_decoder(checkpoint.config, checkpoint.weights())
    found = fill_on_device(checkpoint.config, checkpoint.weights(), device=CPU, dtype=torch.float32, quantize="int4")
    ids = torch.randint(0, VOCABULARY, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, wanted, exact = (made.head(made(ids)) for made in (found, expected, plain))
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
    assert (logits - exact).abs().max() > 1e-2 * exact.abs().max()
    kinds = {type(module) for module in found.modules()}
    assert QuantizedProjection in kinds
    assert (QuantizedStack in kinds) == (case != "llama-2")


@pytest.mark.parametrize("quantize", ["none", "int8", "int4", "fp8", "fp8-block"])
@pytest.mark.parametrize("case", ["mixtral", "deepseek-v2", "llama-2"])
def test_what_was_weighed_is_what_is_taken(case: str, quantize: str, tmp_path: Path) -> None:
    checkpoint = _in_groups_of_32(case, tmp_path)
    found = fill_on_device(checkpoint.config, checkpoint.weights(), device=CPU, dtype=torch.float32, quantize=quantize)
    taken = sum(weight.numel() * weight.element_size() for weight in found.state_dict().values())
    assert weigh(checkpoint.config, quantize, torch.float32).whole_bytes == taken


def test_what_a_format_takes(tmp_path: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "m", CASES["mixtral"]))
    plain = weigh(checkpoint.config, "none", torch.bfloat16)
    assert plain.whole_bytes == 2 * checkpoint.parameters
    assert 0.3 * plain.whole_bytes < plain.expert_bytes < plain.whole_bytes
    assert (
        plain.whole_bytes / 2 < weigh(checkpoint.config, "fp8", torch.bfloat16).whole_bytes < 0.75 * plain.whole_bytes
    )


@pytest.mark.parametrize("case", ["mixtral", "gpt-oss", "deepseek-v2"])
@pytest.mark.parametrize("quantize", ["none", "int8", "int4"])
def test_experts_that_do_not_fit_take_turns(case: str, quantize: str, tmp_path: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "m", CASES[case]))
    config = checkpoint.config
    needs = weigh(config, quantize, torch.float32)
    router = config.layers[-1].mlp.router
    assert router is not None
    assert plan_slots(config, quantize, torch.float32, needs.whole_bytes) is None
    assert plan_slots(config, quantize, torch.float32, needs.whole_bytes - needs.expert_bytes) == 0
    slots = plan_slots(config, quantize, torch.float32, needs.whole_bytes - needs.expert_bytes // 100)
    assert slots is not None
    assert router.chosen <= slots < router.experts
    whole, moved = (
        fill_on_device(config, checkpoint.weights(), device=CPU, dtype=torch.float32, quantize=quantize, slots=count)
        for count in (None, slots)
    )
    ids = torch.randint(0, VOCABULARY, (1, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(moved(ids), whole(ids), rtol=0, atol=1e-4)
