"""Positions at 32k and 128k against HF, for every way of turning that the architectures have; and a whole text of 32k
tokens, read in parts and continued token by token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.decoder import Decoder
from model.kv_cache import KvCache
from model.load import pack
from model.packer import Quantize
from tests.model.paged.models import DEVICE, paged, run_ragged
from tests.model.tiny_hf import CASES, VOCABULARY, Case, hf_model, write_hf

TOKENS = 12
LENGTH, PART, STEPS, CHECKED = 32768 + 40, 512, 8, 24
WINDOW = 4096
_NARROW = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 65536,
}
_BY_WAVELENGTH = CASES["llama-3.1"].settings["rope_parameters"] | {"original_max_position_embeddings": 8192}
_YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 16384}
_WINDOW = {"num_hidden_layers": 2, "num_attention_heads": 2, "sliding_window": WINDOW}
LONG = {
    "llama-3.1": Case("LlamaConfig", _NARROW | {"rope_parameters": _BY_WAVELENGTH}),
    "yarn": Case("Qwen2Config", _NARROW | {"rope_parameters": _YARN}),
    "window": Case("MistralConfig", _NARROW | _WINDOW),
}
TURNS = [
    "llama-2",
    "llama-3.1",
    "llama-linear",
    "mixtral-window",
    "phi-2",
    "deepseek-v2-lite",
    "gpt-oss",
    "mellum-2",
    "ministral-3",
    "mistral-small-4",
    "mistral-large-4",
]
"""Plain, by wavelength, linear, with a window, partial, YaRN twice, two bases in one model, queries that grow, of plain
attention and of latent, and what was learned of both."""


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


@torch.no_grad()
def _whole(decoder: Decoder, ids: list[int]) -> torch.Tensor:
    """Hidden states of the last tokens, at once. Through windows they see no further back than so many windows as there
    are layers."""
    window = decoder.config.layers[0].attention.window
    seen = len(ids) if window is None else len(decoder.layers) * window + CHECKED
    found: torch.Tensor = decoder(torch.tensor([ids[-seen:]]), positions=torch.arange(len(ids) - seen, len(ids))[None])
    return found[0, -CHECKED:]


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG)
def test_a_text_of_32k_tokens_in_parts_and_steps_is_the_whole(case: str, tmp_path: Path) -> None:
    checkpoint = open_folder(write_hf(tmp_path / "tiny", LONG[case]))
    config = checkpoint.config
    decoder = fill_decoder(config, checkpoint.weights())
    ids: list[int] = torch.randint(0, VOCABULARY, (LENGTH,), generator=torch.Generator().manual_seed(5)).tolist()
    parts = [ids[start : min(start + PART, LENGTH - STEPS)] for start in range(0, LENGTH - STEPS, PART)]
    parts += [[token] for token in ids[-STEPS:]]
    expected = _whole(decoder, ids)
    tolerance = 1e-4 * float(expected.abs().max())
    pages, caches = paged(decoder.to(DEVICE), pages=LENGTH // 64 + 3)
    held = caches.acquire(ids)
    over_pages = [run_ragged(pages, caches, [(held, part)])[0] for part in parts]
    torch.testing.assert_close(torch.cat(over_pages)[-CHECKED:].cpu(), expected, rtol=0, atol=tolerance)
    assert config.is_plain == (case in ("llama-3.1", "yarn"))
    if config.is_plain:
        weights = ((name, weight.float()) for name, weight in checkpoint.weights())
        served = pack(config, weights, parameters=0, dtype=torch.float32, quantize=Quantize.NONE).decoder
        cache = KvCache(served.kv_shape)
        packed = torch.cat([served.forward(part, cache, last_only=False) for part in parts])
        torch.testing.assert_close(packed[-CHECKED:], expected, rtol=0, atol=tolerance)
