"""Mistral Large 4 loaded as on a GPU, where pages do not hold its index keys: one sequence at a time by the modules,
with the text that the CPU's own way gives; and nothing lies on another device, nor asks the device for a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, SamplingParams
from model.cached_decoder import CachedDecoder
from model.checkpoint.folder import open_folder
from model.errors import UsageError
from model.kv_cache import KvCache
from model.local import LocalEngine
from model.on_device import LoadedOnDevice, fill_on_device
from model.open_model import open_model, open_on_device
from model.packer import Quantize
from model.paged.decoder import is_paged
from model.parallel.shard import Part
from model.runner import Runner
from tests.model.test_open_model import PROMPT, write_tokenizer
from tests.model.tiny_hf import CASES, Case, write_hf

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
META = torch.device("meta")


async def _write(engine: LocalEngine, prompt: tuple[int, ...]) -> list[int]:
    sampling = SamplingParams(max_tokens=10, ignore_eos=True, logprobs=0)
    chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=prompt, sampling=sampling))]
    return [row.token_id for chunk in chunks for row in chunk.logprobs]


@pytest.mark.parametrize("name", ["mistral-large-4", "mistral-large-4-shared"])
async def test_the_text_is_the_cpus_own(name: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES[name]))
    plain, tokenizer = open_model(folder, dtype=torch.float32, quantize=Quantize.NONE, device=torch.device("cpu"))
    loaded, _ = open_on_device(folder, DEVICE, dtype=torch.float32, quantize=Quantize.NONE, room_bytes=10**9)
    assert isinstance(loaded, LoadedOnDevice)
    assert not is_paged(loaded.config)
    alone, engine = LocalEngine(plain, tokenizer, name="plain"), LocalEngine(loaded, tokenizer, name="device")
    assert isinstance(engine._runner, Runner)
    try:
        for prompt in (PROMPT, (*PROMPT, 5), PROMPT[:20]):  # from the beginning, behind what is held, and cut
            assert await _write(engine, prompt) == await _write(alone, prompt)
    finally:
        await alone.aclose()
        await engine.aclose()


@pytest.mark.parametrize("quantize", ["none", "int8", "int4", "fp8"])
def test_what_decides_is_kept_precise(quantize: str, tmp_path: Path) -> None:
    checkpoint = open_folder(write_hf(tmp_path / "tiny", CASES["mistral-large-4"]))
    made = fill_on_device(
        checkpoint.config, checkpoint.weights(), device=DEVICE, dtype=torch.bfloat16, quantize=quantize
    )
    for part, weight in made.named_parameters():
        precise = ".router." in part or part.endswith(("head_weights.weight", "rope_exponents"))
        assert weight.dtype == (torch.float32 if precise else torch.bfloat16), part
    hidden = CachedDecoder(made).forward(list(range(3, 23)), KvCache(CachedDecoder(made).kv_shape))
    assert torch.isfinite(hidden).all()


def test_nothing_lies_elsewhere_and_the_host_asks_for_no_number(tmp_path: Path) -> None:
    """On tensors without numbers, which do not mix with the host's; mixtures look at their choice on any but a GPU."""
    case = CASES["mistral-large-4-shared"]
    dense = Case(case.config, case.settings | {"mlp_layer_types": ["dense"] * 6})
    checkpoint = open_folder(write_hf(tmp_path / "tiny", dense))
    made = fill_on_device(checkpoint.config, checkpoint.weights(), device=META, dtype=torch.bfloat16, quantize="none")
    cached = CachedDecoder(made)
    cache = KvCache(cached.kv_shape)
    for chunk in ([3] * 20, [4], [5, 6]):
        hidden = cached.forward(chunk, cache)
        assert (hidden.device, hidden.dtype) == (META, torch.bfloat16)
    cache.truncate(15)
    assert cached.forward([7] * 9, cache, last_only=False).shape == (9, checkpoint.config.hidden)
    assert {tensor.device for tensor in (*cache.keys, *cache.values, *cache.index_keys)} == {META}


def test_several_gpus_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["mistral-large-4"]))
    seen: list[float] = []
    with pytest.raises(UsageError, match="not cut over processes") as caught:
        open_on_device(
            folder,
            DEVICE,
            dtype=torch.float32,
            quantize=Quantize.NONE,
            room_bytes=10**9,
            part=Part(rank=0, processes=2),
            progress=seen.append,
        )
    assert caught.value.hint
    assert not seen
