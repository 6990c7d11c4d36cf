"""Positions at 32k and 128k against HF, for every way of turning that the architectures have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from tests.model.tiny_hf import CASES, VOCABULARY, hf_model, write_hf

TOKENS = 12
TURNS = ["llama-2", "llama-3.1", "llama-linear", "mixtral-window", "phi-2", "deepseek-v2-lite", "gpt-oss", "mellum-2"]
"""Plain, by wavelength, linear, with a window, partial, YaRN twice, and two bases in one model."""


@pytest.mark.parametrize("case", TURNS)
def test_logits_equal_hf(case: str, tmp_path: Path) -> None:
    """Within 1e-4 of the largest logit; float32 angles lose digits out there, HF's as well as ours, and the same."""
    folder = write_hf(tmp_path / "tiny", CASES[case])
    checkpoint = open_folder(folder)
    decoder, theirs = fill_decoder(checkpoint.config, checkpoint.weights()), hf_model(folder)
    ids = torch.randint(0, VOCABULARY, (1, TOKENS), generator=torch.Generator().manual_seed(1))
    for end in (32768, 131072):
        positions = torch.arange(end - TOKENS, end)[None]
        with torch.no_grad():
            ours = decoder.head(decoder(ids, positions=positions))
            expected = theirs(ids, position_ids=positions).logits
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
