"""The log-probabilities that come with generated tokens are those of the whole text read at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, SamplingParams
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.local import LocalEngine
from tests.model.test_open_model import PROMPT, write_tokenizer
from tests.model.tiny_hf import CASES, write_hf

ONE_OF_EACH = {case.config: name for name, case in CASES.items()}.values()
"""The last case of each architecture."""


@pytest.mark.parametrize("case", ONE_OF_EACH)
async def test_generated_tokens_score_alike_when_they_are_read(case: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES[case]))
    sampling = SamplingParams(max_tokens=24, temperature=1.0, seed=3, ignore_eos=True, logprobs=0)
    engine = LocalEngine.load(folder, dtype="float32", quantize="none", threads=1)
    try:
        chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=PROMPT, sampling=sampling))]
    finally:
        await engine.aclose()
    rows = [row for chunk in chunks for row in chunk.logprobs]
    tokens = [row.token_id for row in rows]
    assert len(tokens) == 24
    checkpoint = open_folder(folder)
    decoder = fill_decoder(checkpoint.config, checkpoint.weights())
    with torch.no_grad():
        logits = decoder.head(decoder(torch.tensor([[*PROMPT, *tokens[:-1]]])))[0, len(PROMPT) - 1 :]
    again = torch.log_softmax(logits, -1)[torch.arange(24), torch.tensor(tokens)]
    assert [row.logprob for row in rows] == pytest.approx(again.tolist(), abs=5e-4)
