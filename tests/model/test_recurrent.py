"""Scans by blocks against the recurrences that define them, step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.layers import delta, state_space
from model.layers.recurrent import CausalConvolution
from tests.model.tiny_hf import CASES, VOCABULARY, Case, hf_model, write_hf

TOKENS = 150
"""Two whole blocks and a part of one."""


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _space() -> tuple[Tensor, ...]:
    """Values, fades, writes, reads and a state to start from: 6 heads in 2 groups."""
    return (
        _randn(2, TOKENS, 6, 5, seed=0),
        -functional.softplus(_randn(2, TOKENS, 6, seed=1) * 3),  # some heads forget at once, some hardly
        _randn(2, TOKENS, 2, 7, seed=2),
        _randn(2, TOKENS, 2, 7, seed=3),
        _randn(2, 6, 5, 7, seed=4),
    )


def _rule() -> tuple[Tensor, ...]:
    """Queries, keys of length one, values, shares, fades and a state to start from."""
    return (
        functional.normalize(_randn(2, 3, TOKENS, 8, seed=0), dim=-1),
        functional.normalize(_randn(2, 3, TOKENS, 8, seed=1), dim=-1),
        _randn(2, 3, TOKENS, 5, seed=2),
        _randn(2, 3, TOKENS, seed=3).sigmoid(),
        -functional.softplus(_randn(2, 3, TOKENS, seed=4) * 3),
        _randn(2, 3, 8, 5, seed=5),
    )


def test_a_state_space_by_blocks_is_its_recurrence() -> None:
    *rows, state = _space()
    found, last = state_space.scan(*rows, state)  # type: ignore[call-arg]
    for place in range(TOKENS):
        out, state = state_space.step(*(part[:, place : place + 1] for part in rows), state)  # type: ignore[call-arg]
        torch.testing.assert_close(found[:, place : place + 1], out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last, state, rtol=1e-4, atol=1e-4)


def test_the_delta_rule_by_blocks_is_its_recurrence() -> None:
    *rows, state = _rule()
    found, last = delta.correct(*rows, state)  # type: ignore[call-arg]
    for place in range(TOKENS):
        out, state = delta.step(*(part[:, :, place : place + 1] for part in rows), state)  # type: ignore[call-arg]
        torch.testing.assert_close(found[:, :, place : place + 1], out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last, state, rtol=1e-4, atol=1e-4)


def test_the_recurrence_is_the_definition() -> None:
    """One token by loops over heads and numbers."""
    values, fades, writes, reads, state = (part[:1, :1] for part in _space()[:4]), None, None, None, None
    del fades, writes, reads, state
    value, fade, write, read = (part[0, 0] for part in values)
    before = _space()[4][:1]
    out, after = state_space.step(value[None, None], fade[None, None], write[None, None], read[None, None], before)
    for head in range(6):
        group = head // 3
        for row in range(5):
            expected = [
                float(before[0, head, row, place] * fade[head].exp() + value[head, row] * write[group, place])
                for place in range(7)
            ]
            assert after[0, head, row].tolist() == pytest.approx(expected, abs=1e-5)
            spoken = sum(number * float(read[group, place]) for place, number in enumerate(expected))
            assert float(out[0, 0, head, row]) == pytest.approx(spoken, abs=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_the_convolution_is_torchs(bias: bool) -> None:
    convolution = CausalConvolution(6, 4, bias=bias)
    with torch.no_grad():
        for index, weight in enumerate(convolution.parameters()):
            weight.copy_(_randn(*weight.shape, seed=index))
        joined = _randn(2, 3 + 10, 6, seed=9)
        expected = functional.conv1d(
            joined.transpose(1, 2), convolution.weight[:, None], convolution.bias, groups=6
        ).transpose(1, 2)
        torch.testing.assert_close(convolution(joined), functional.silu(expected))


@pytest.mark.parametrize("wide", [True, False])
def test_the_residual_is_as_wide_as_the_checkpoint_says(wide: bool, tmp_path: Path) -> None:
    """In bfloat16, beside embeddings so large that a narrow residual loses what layers add: closer to HF than the other
    way is."""
    settings = {"num_hidden_layers": 8, "residual_in_fp32": wide, "tie_word_embeddings": False}
    folder = write_hf(tmp_path / "tiny", Case("Mamba2Config", CASES["mamba-2"].settings | settings))
    weights = load_file(folder / "model.safetensors")
    weights["backbone.embeddings.weight"] *= 256
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    ids = torch.randint(0, VOCABULARY, (4, 40), generator=torch.Generator().manual_seed(1))
    checkpoint = open_folder(folder)
    away = {}
    with torch.no_grad():
        theirs = hf_model(folder).bfloat16()(ids).logits.float()
        for width in (True, False):
            layers = tuple(replace(layer, wide_residual=width) for layer in checkpoint.config.layers)
            config = replace(checkpoint.config, layers=layers)
            decoder = fill_decoder(config, checkpoint.weights(), dtype=torch.bfloat16)
            away[width] = float((decoder.head(decoder(ids)).float() - theirs).abs().mean())
    assert checkpoint.config.layers[0].wide_residual is wide
    assert away[wide] < 0.85 * away[not wide]
