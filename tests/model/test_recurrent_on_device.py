"""Models that remember states, loaded as on a GPU: the same text as the CPU's own way gives; and nothing that they
compute lies on another device, nor asks the device for a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, SamplingParams
from model.cached_decoder import CachedDecoder
from model.checkpoint.folder import open_folder
from model.kv_cache import KvCache
from model.local import LocalEngine
from model.on_device import LoadedOnDevice, fill_on_device
from model.open_model import open_model, open_on_device
from model.packer import Quantize
from model.runner import Runner
from tests.model.test_open_model import PROMPT, write_tokenizer
from tests.model.tiny_hf import CASES, write_hf

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NAMES = ("mamba-2", "granite-4", "granite-4-dense", "qwen3-next")
META = torch.device("meta")


async def _write(engine: LocalEngine, prompt: tuple[int, ...]) -> list[int]:
    sampling = SamplingParams(max_tokens=10, ignore_eos=True, logprobs=0)
    chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=prompt, sampling=sampling))]
    return [row.token_id for chunk in chunks for row in chunk.logprobs]


@pytest.mark.parametrize("name", NAMES)
async def test_the_text_is_the_cpus_own(name: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES[name]))
    plain, tokenizer = open_model(folder, dtype=torch.float32, quantize=Quantize.NONE, device=torch.device("cpu"))
    loaded, _ = open_on_device(folder, DEVICE, dtype=torch.float32, quantize=Quantize.NONE, room_bytes=10**9)
    assert isinstance(loaded, LoadedOnDevice)
    alone, engine = LocalEngine(plain, tokenizer, name="plain"), LocalEngine(loaded, tokenizer, name="device")
    assert isinstance(engine._runner, Runner)
    try:
        for prompt in (PROMPT, (*PROMPT, 5), PROMPT):  # from the beginning, behind a kept state, and all of it known
            assert await _write(engine, prompt) == await _write(alone, prompt)
        assert (await engine.info()).device == str(DEVICE)
        assert engine.measures().cache_bytes > 0
    finally:
        await alone.aclose()
        await engine.aclose()


@pytest.mark.parametrize("quantize", ["none", "int8", "int4", "fp8"])
@pytest.mark.parametrize("name", NAMES)
def test_what_steers_states_is_kept_precise(name: str, quantize: str, tmp_path: Path) -> None:
    checkpoint = open_folder(write_hf(tmp_path / "tiny", CASES[name]))
    made = fill_on_device(
        checkpoint.config, checkpoint.weights(), device=DEVICE, dtype=torch.bfloat16, quantize=quantize
    )
    steering = ("rate_log", "step_bias", "skip")
    for part, weight in made.named_parameters():
        precise = ".router." in part or part.endswith(steering)
        assert weight.dtype == (torch.float32 if precise else torch.bfloat16), part
    plain = {part.rpartition(".")[2] for part, module in made.named_modules() if isinstance(module, torch.nn.Linear)}
    packed = {"beta_proj", "step_proj", "shared_gate", "lm_head"}
    assert quantize == "none" or plain <= packed
    hidden = CachedDecoder(made).forward([3, 4, 5, 6], KvCache(CachedDecoder(made).kv_shape))
    assert torch.isfinite(hidden).all()


@pytest.mark.parametrize("name", ["mamba-2", "granite-4-dense"])
def test_nothing_lies_elsewhere_and_the_host_asks_for_no_number(name: str, tmp_path: Path) -> None:
    """On tensors without numbers, which do not mix with the host's; mixtures look at their choice on any but a GPU."""
    checkpoint = open_folder(write_hf(tmp_path / "tiny", CASES[name]))
    made = fill_on_device(checkpoint.config, checkpoint.weights(), device=META, dtype=torch.bfloat16, quantize="none")
    cached = CachedDecoder(made)
    cache = KvCache(cached.kv_shape)
    for chunk in ([3] * 20, [4], [5, 6]):
        hidden = cached.forward(chunk, cache)
        assert (hidden.device, hidden.dtype) == (META, torch.bfloat16)
    cut = cache.reach(15)
    assert 0 < cut <= 15
    cache.truncate(cut)
    assert cached.forward([7] * 9, cache, last_only=False).shape == (9, checkpoint.config.hidden)
    assert {tensor.device for tensor in (*cache.keys, *cache.values)} <= {META}
