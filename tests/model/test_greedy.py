"""Greedy text of the embedded model: HF transformers' token by token in float32; the same with drafts as without."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, SamplingParams
from model.checkpoint.gguf import GgufFile
from model.load import load_served, pick_dtype
from model.local import LocalEngine
from model.packer import Quantize
from model.tokenizer import read_tokenizer
from tests.model.oracle import hf_model

pytestmark = [pytest.mark.model, pytest.mark.slow]

PROMPTS: list[str] = json.loads((Path(__file__).parent / "prompts.json").read_text(encoding="utf-8"))
TOKENS = 12


@pytest.fixture
async def engine(embedded_path: Path) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine.load(embedded_path, dtype="float32", quantize="none", threads=1)
    yield engine
    await engine.aclose()


async def test_fifty_prompts_continue_as_with_hf(engine: LocalEngine, embedded_path: Path) -> None:
    assert len(PROMPTS) == 50
    hf = hf_model(embedded_path)
    sampling = SamplingParams(max_tokens=TOKENS, ignore_eos=True, logprobs=0)
    different: list[str] = []
    for prompt in PROMPTS:
        chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=prompt, sampling=sampling))]
        ours = [logprob.token_id for chunk in chunks for logprob in chunk.logprobs]
        assert len(ours) == TOKENS
        (ids,) = await engine.tokenize((prompt,))
        # One pass over both texts: each of our tokens must be HF's greatest after the tokens before it. By induction
        # that is HF's own greedy text, at a tenth of the time.
        with torch.inference_mode():
            logits = hf(torch.tensor([[*ids, *ours]]), logits_to_keep=TOKENS + 1).logits[0, :-1]
        theirs = logits.argmax(-1).tolist()
        if ours != theirs:
            different.append(f"{prompt!r}: {ours} is not {theirs}")
    assert not different


async def test_fifty_prompts_continue_alike_with_drafts_and_without(embedded_path: Path) -> None:
    with GgufFile(embedded_path) as file:
        served = load_served(file, dtype=pick_dtype("auto"), quantize=Quantize.AUTO)
        tokenizer = read_tokenizer(file)
    engines = [LocalEngine(served, tokenizer, name="embedded", drafts=drafts) for drafts in (True, False)]
    sampling = SamplingParams(max_tokens=2 * TOKENS, ignore_eos=True, logprobs=0)
    for prompt in PROMPTS:
        found = []
        for engine in engines:  # one after the other: they share the decoder's scratch memory
            chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=prompt, sampling=sampling))]
            found.append([(token.token_id, token.logprob) for chunk in chunks for token in chunk.logprobs])
        assert found[0] == found[1]
        assert len(found[0]) == 2 * TOKENS
    drafted, accepted = engines[0].drafted
    assert 0 < accepted <= drafted
    assert engines[1].drafted == (0, 0)
    for engine in engines:
        await engine.aclose()
