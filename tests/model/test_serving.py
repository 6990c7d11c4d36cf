"""The serving decoder against the reference: whole, in chunks, token by token, and in every number format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from torch import Tensor

from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder
from model.decoder import Decoder
from model.errors import UsageError
from model.kv_cache import KvCache
from model.load import Served, load_served, pick_dtype
from model.packer import Beside, Quantize, pick_quantize
from model.tokenizer import read_tokenizer
from tests.model.tiny import CONTEXT, write_tiny

Q4_1 = gguf.GGMLQuantizationType.Q4_1


def _load(
    path: Path,
    *,
    dtype: torch.dtype = torch.float32,
    quantize: Quantize = Quantize.NONE,
    beside: Beside = Beside.COPIES,
) -> Served:
    with GgufFile(path) as file:
        return load_served(file, dtype=dtype, quantize=quantize, beside=beside)


def _ids(count: int, vocabulary: int = 200) -> list[int]:
    return torch.randint(0, vocabulary, (count,), generator=torch.Generator().manual_seed(count)).tolist()


def _hidden(served: Served, ids: list[int], chunks: list[int]) -> Tensor:
    cache = KvCache(served.decoder.kv_shape)
    rows = []
    for size in chunks:
        rows.append(served.decoder.forward(ids[len(cache.tokens) :][:size], cache, last_only=False))
    assert cache.tokens == ids
    return torch.cat(rows)


@pytest.mark.parametrize("chunks", [[60], [1] * 60, [7, 1, 1, 40, 11], [59, 1], [8, 9, 43]], ids=str)
def test_any_chunking_equals_the_reference(chunks: list[int], tiny_path: Path, tiny_decoder: Decoder) -> None:
    ids = _ids(60)
    with torch.no_grad():
        expected = tiny_decoder(torch.tensor([ids]))[0]
    torch.testing.assert_close(_hidden(_load(tiny_path), ids, chunks), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_the_reference(tied: bool, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", tied=tied)
    served = _load(path)
    with GgufFile(path) as file, torch.no_grad():
        decoder = load_decoder(file)
        expected = decoder.head(decoder(torch.tensor([_ids(20)])))[0, -1]
    hidden = served.decoder.forward(_ids(20), KvCache(served.decoder.kv_shape))
    torch.testing.assert_close(served.head(hidden)[0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("quantize", list(Quantize))
@pytest.mark.parametrize("chunks", [[60], [1] * 60, [33, 1, 26], [17, 43]], ids=str)
@pytest.mark.parametrize("beside", list(Beside), ids=lambda beside: beside.name)
def test_bfloat16_and_packed_formats_stay_close(
    quantize: Quantize, chunks: list[int], beside: Beside, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "m.gguf", quantization=Q4_1)
    with GgufFile(path) as file, torch.no_grad():
        decoder = load_decoder(file)
        expected = decoder(torch.tensor([_ids(60)]))[0]
    ours = _hidden(_load(path, dtype=torch.bfloat16, quantize=quantize, beside=beside), _ids(60), chunks)
    error = (ours - expected).norm() / expected.norm()
    # The weights lie on a grid of 16 levels, which int4 and int8 keep; three bits of mantissa do not.
    assert error < (0.3 if quantize.startswith("fp8") else 0.05)


def test_the_context_can_be_filled_to_its_last_token(tiny_path: Path) -> None:
    ids = _ids(CONTEXT)
    for dtype, chunks in [(torch.float32, [CONTEXT]), (torch.bfloat16, [CONTEXT - 20, 10, 9, 1])]:
        assert _hidden(_load(tiny_path, dtype=dtype), ids, chunks).isfinite().all()


def test_auto_packs_four_bit_checkpoints_to_int4_and_others_to_int8(tiny_path: Path, tmp_path: Path) -> None:
    assert _load(tiny_path, quantize=Quantize.AUTO).quantization == "int8"
    path = write_tiny(tmp_path / "m.gguf", quantization=Q4_1)
    assert "int4" in _load(path, quantize=Quantize.AUTO).quantization
    assert _load(path, quantize=Quantize.NONE).quantization == "none"


def test_loading_reports_progress_to_the_end(tiny_file: GgufFile) -> None:
    seen: list[float] = []
    load_served(tiny_file, dtype=torch.float32, quantize=Quantize.NONE, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_dtypes_by_name(name: str, dtype: torch.dtype) -> None:
    assert pick_dtype(name) is dtype
    assert pick_dtype("auto") in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("pick", [pick_dtype, pick_quantize])
def test_unknown_names_are_refused_with_the_known_ones(pick: Callable[[str], object]) -> None:
    with pytest.raises(UsageError, match="int3") as caught:
        pick("int3")
    assert "auto" in caught.value.hint


@pytest.mark.model
@pytest.mark.parametrize(
    ("quantize", "bound"), [(Quantize.NONE, 0.003), (Quantize.INT8, 0.01), (Quantize.AUTO, 0.01)], ids=str
)
def test_mean_kl_to_float32_on_code_is_bounded(quantize: Quantize, bound: float, embedded_path: Path) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    with GgufFile(embedded_path) as file:
        ids = read_tokenizer(file).encode(text)[:160]
        decoder = load_decoder(file)
        served = load_served(file, dtype=torch.bfloat16, quantize=quantize)
    with torch.no_grad():
        expected = torch.log_softmax(decoder.head(decoder(torch.tensor([ids])))[0], -1)
    # The first 64 in one chunk, the rest token by token: both kinds of kernels count.
    hidden = _hidden(served, ids, [64, *[1] * 96])
    ours = torch.log_softmax(served.head(hidden), -1)
    divergence = (expected.exp() * (expected - ours)).sum(-1).mean()
    assert 0 <= float(divergence) < bound
