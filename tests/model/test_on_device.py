"""The engine over pages, as it runs on a GPU, here on whatever device there is: loaded tensor by tensor, stepped
together, the same text as the CPU's own ways give."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, Priority, SamplingParams
from model.errors import EngineUnavailableError, ModelTooLargeError
from model.local import LocalEngine
from model.on_device import LoadedOnDevice
from model.open_model import LoadedModules, open_model, open_on_device
from model.packer import Quantize
from model.paged.runner import PagedRunner
from model.runner import Runner
from model.tokenizer import Tokenizer
from tests.model.tiny import write_tiny

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PROMPTS = ("def the ", "int " * 30, "return", "the the the in")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("device") / "tiny.gguf")


def on_device(
    path: Path, quantize: Quantize = Quantize.AUTO, room_bytes: int = 10**9
) -> tuple[LoadedOnDevice, Tokenizer]:
    return open_on_device(
        path, DEVICE, dtype=torch.float32, quantize=quantize, transform=None, progress=None, room_bytes=room_bytes
    )


async def text(engine: LocalEngine, prompt: str, priority: Priority = Priority.INTERACTIVE) -> str:
    sampling = SamplingParams(max_tokens=20, ignore_eos=True)
    request = GenerateRequest(prompt=prompt, sampling=sampling, priority=priority)
    return "".join([chunk.text async for chunk in engine.generate(request)])


async def test_requests_at_once_get_the_text_of_the_cpus_own_way(path: Path) -> None:
    plain, tokenizer = open_model(path, dtype=torch.float32, quantize=Quantize.NONE)
    alone = LocalEngine(plain, tokenizer, name="plain", drafts=False)
    loaded, tokenizer = on_device(path)
    together = LocalEngine(loaded, tokenizer, name="paged")
    assert isinstance(alone._runner, Runner)
    assert isinstance(together._runner, PagedRunner)
    try:
        expected = [await text(alone, prompt) for prompt in PROMPTS]
        calls = [text(together, prompt, list(Priority)[n % 2]) for n, prompt in enumerate(PROMPTS * 3)]
        assert await asyncio.gather(*calls) == expected * 3
        info = await together.info()
        assert (info.device, info.quantization) == (str(DEVICE), "none")
        assert together.measures().cache_bytes > 0
    finally:
        await alone.aclose()
        await together.aclose()


async def test_a_step_that_fails_ends_those_in_it_and_no_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine(*on_device(path), name="paged")
    runner = engine._runner
    assert isinstance(runner, PagedRunner)
    whole = runner._read

    def fail(*arguments: object) -> object:
        monkeypatch.setattr(runner, "_read", whole)
        raise MemoryError("no room")

    monkeypatch.setattr(runner, "_read", fail)
    try:
        with pytest.raises(EngineUnavailableError, match="no room"):
            await text(engine, "int " * 30)
        assert await text(engine, "int " * 30)
    finally:
        await engine.aclose()


def test_eight_bits_on_the_device(path: Path) -> None:
    loaded, _ = on_device(path, Quantize.FP8)
    assert loaded.quantization == "fp8"
    assert loaded.reference.layers[0].attention.q_proj.weight.dtype is torch.float8_e4m3fn


async def test_four_bits_on_the_device(path: Path) -> None:
    loaded, tokenizer = on_device(path, Quantize.INT4)
    assert loaded.quantization == "int4"
    assert loaded.reference.layers[0].attention.q_proj.weight.dtype is torch.uint8
    engine = LocalEngine(loaded, tokenizer, name="four bits")
    try:
        assert await text(engine, "int " * 30)
    finally:
        await engine.aclose()


def test_what_does_not_fit_is_refused_before_it_is_read(path: Path) -> None:
    with pytest.raises(ModelTooLargeError, match=r"tiny\.gguf needs at least"):
        on_device(path, room_bytes=1000)


def test_the_cpu_keeps_its_packed_weights(path: Path) -> None:
    loaded, _ = open_model(path, dtype=torch.float32, quantize=Quantize.INT8)
    assert not isinstance(loaded, LoadedOnDevice | LoadedModules)
