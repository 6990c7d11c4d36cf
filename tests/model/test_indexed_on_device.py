"""Mistral Large 4 loaded as on a GPU and stepped together: the text of the reference."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, SamplingParams
from model.checkpoint.folder import open_folder
from model.decoder import Decoder
from model.local import LocalEngine
from model.on_device import LoadedOnDevice, fill_on_device
from model.open_model import open_on_device
from model.packer import Quantize
from model.paged.runner import PagedRunner
from tests.model.paged.models import paged, run_ragged
from tests.model.test_open_model import PROMPT, write_tokenizer
from tests.model.tiny_hf import CASES, write_hf

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


async def _write(engine: LocalEngine, prompt: tuple[int, ...]) -> list[int]:
    sampling = SamplingParams(max_tokens=10, ignore_eos=True, logprobs=0)
    chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=prompt, sampling=sampling))]
    return [row.token_id for chunk in chunks for row in chunk.logprobs]


def _greedy(decoder: Decoder, prompt: tuple[int, ...]) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(10):
            ids.append(int(decoder.head(decoder(torch.tensor([ids], device=DEVICE))[0, -1]).argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("name", ["mistral-large-4", "mistral-large-4-shared"])
async def test_requests_at_once_get_the_text_of_the_reference(name: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES[name]))
    loaded, tokenizer = open_on_device(folder, DEVICE, dtype=torch.float32, quantize=Quantize.NONE, room_bytes=10**9)
    assert isinstance(loaded, LoadedOnDevice)
    engine = LocalEngine(loaded, tokenizer, name="device")
    assert isinstance(engine._runner, PagedRunner)
    prompts = (PROMPT, (*PROMPT, 5), PROMPT[:7])
    try:
        expected = [_greedy(loaded.reference, prompt) for prompt in prompts]
        assert await asyncio.gather(*(_write(engine, prompt) for prompt in prompts)) == expected
        assert [await _write(engine, prompt) for prompt in prompts] == expected  # behind what is held
    finally:
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
    decoder, caches = paged(made)
    prompt = list(range(3, 23))
    (hidden,) = run_ragged(decoder, caches, [(caches.acquire(prompt), prompt)])
    assert torch.isfinite(hidden).all()
    assert decoder.pool.index_keys[0].dtype is torch.bfloat16
