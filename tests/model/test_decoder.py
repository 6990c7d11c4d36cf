"""The reference decoder against HF transformers, on a tiny random model and on the embedded one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder, read_config
from model.checkpoint.shapes import weight_shapes
from model.decoder import Decoder
from model.errors import CheckpointError
from tests.model.oracle import hf_model
from tests.model.tiny import write_tiny


def _tokens(vocabulary: int, shape: tuple[int, int]) -> torch.Tensor:
    return torch.randint(0, vocabulary, shape, generator=torch.Generator().manual_seed(1))


def _check_against_hf(path: Path, *, tokens: int, atol: float) -> None:
    with GgufFile(path) as file:
        decoder = load_decoder(file)
    ids = _tokens(decoder.config.vocabulary, (2, tokens))
    with torch.no_grad():
        ours, theirs = decoder.head(decoder(ids)), hf_model(path)(ids).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_hf(tied: bool, tmp_path: Path) -> None:
    _check_against_hf(write_tiny(tmp_path / "m.gguf", tied=tied), tokens=50, atol=1e-5)


@pytest.mark.model
def test_logits_of_the_embedded_model_equal_hf(embedded_path: Path) -> None:
    _check_against_hf(embedded_path, tokens=64, atol=1e-3)  # logits reach 33


def test_packed_documents_do_not_see_each_other(tiny_decoder: Decoder) -> None:
    first, second = _tokens(200, (1, 20)), _tokens(200, (1, 13)) + 3
    packed = torch.cat((first, second, torch.zeros(1, 4, dtype=torch.int64)), dim=1)
    documents = torch.tensor([[0] * 20 + [1] * 13 + [-1] * 4])
    with torch.no_grad():
        together = tiny_decoder(packed, documents=documents)
        torch.testing.assert_close(together[:, :20], tiny_decoder(first), rtol=0, atol=1e-4)
        torch.testing.assert_close(together[:, 20:33], tiny_decoder(second), rtol=0, atol=1e-4)
    assert together.isfinite().all()


def test_positions_matter_only_relative_to_each_other(tiny_decoder: Decoder) -> None:
    ids = _tokens(200, (2, 16))
    with torch.no_grad():
        shifted = tiny_decoder(ids, positions=torch.arange(16).expand(2, 16) + 100)
        torch.testing.assert_close(shifted, tiny_decoder(ids), rtol=0, atol=1e-4)
        spread = tiny_decoder(ids, positions=torch.arange(16).expand(2, 16) * 3)
    assert not torch.allclose(spread, shifted, atol=1e-2)


def test_gradients_reach_every_weight(tiny_decoder: Decoder) -> None:
    tiny_decoder.head(tiny_decoder(_tokens(200, (1, 12)))).logsumexp(-1).sum().backward()
    for name, weight in tiny_decoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("metadata", "drop", "message"),
    [
        ({"general.architecture": "mamba"}, "", "architecture 'mamba'"),
        ({"llama.expert_count": 8}, "", "mixture of experts"),
        ({"llama.rope.scaling.type": "yarn"}, "", "None for factor"),
        ({"llama.rope.scaling.type": "longrope"}, "", "'longrope'"),
        ({}, "blk.1.ffn_up.weight", r"missing blk\.1\.ffn_up\.weight"),
        ({"llama.block_count": 2}, "", r"unexpected blk\.2\.attn"),
        ({"llama.feed_forward_length": 64}, "", r"blk\.0\.ffn_gate\.weight.*shape"),
        ({"llama.context_length": "long"}, "", "says 'long'"),
        ({}, "token_embd.weight", "token_embd"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    metadata: dict[str, str | int | bool], drop: str, message: str, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "m.gguf", metadata=metadata, drop=drop)
    with GgufFile(path) as file, pytest.raises(CheckpointError, match=message) as caught:
        load_decoder(file)
    assert caught.value.hint


@pytest.mark.parametrize("tied", [True, False])
def test_the_shapes_written_out_are_the_decoders(tied: bool, tmp_path: Path) -> None:
    with GgufFile(write_tiny(tmp_path / "m.gguf", tied=tied)) as file:
        config = read_config(file)
    assert weight_shapes(config) == {name: tuple(part.shape) for name, part in Decoder(config).state_dict().items()}


def test_the_configuration_is_read(tmp_path: Path) -> None:
    with GgufFile(write_tiny(tmp_path / "m.gguf", tied=False)) as file:
        config = read_config(file)
    assert (config.hidden, len(config.layers), config.context_tokens, config.tied_embeddings) == (64, 3, 256, False)
    assert config.layers[0].attention.kv_heads == 2
