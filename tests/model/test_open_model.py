"""Folders of every architecture served by the in-process engine: greedy text, cached prefixes, the prompt's files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as Bpe
from tokenizers import decoders, models, pre_tokenizers

from model import load
from model.api import Chunk, Engine, GenerateRequest, SamplingParams
from model.details import read_details
from model.errors import CheckpointError, ModelTooLargeError, UsageError
from model.kv_cache import KvCache
from model.load import Served
from model.local import LocalEngine
from model.open_model import open_model
from model.packer import Beside, Packer, Quantize
from tests.model.mistral_format import write_mistral
from tests.model.tiny_hf import CASES, VOCABULARY, hf_model, write_hf

PROMPT = tuple(range(3, 60, 2))


def write_tokenizer(folder: Path) -> Path:
    """A vocabulary of letters beside a tiny checkpoint: control tokens, then bytes in GPT-2's spelling."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[: VOCABULARY - 6]
    names = ["<pad>", "<s>", "</s>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", *alphabet]
    bpe = Bpe(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(names[:6])
    bpe.save(str(folder / "tokenizer.json"))
    return folder


async def _last(engine: Engine, *, tokens: int = 12) -> tuple[list[int], Chunk]:
    sampling = SamplingParams(max_tokens=tokens, ignore_eos=True, logprobs=0)
    chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=PROMPT, sampling=sampling))]
    return [row.token_id for chunk in chunks for row in chunk.logprobs], chunks[-1]


def _greedy_hf(folder: Path, *, tokens: int = 12) -> list[int]:
    """One token after another, each from the whole text: no cache that could agree with ours in error."""
    model, ids = hf_model(folder), list(PROMPT)
    with torch.no_grad():
        for _ in range(tokens):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(PROMPT) :]


@pytest.mark.parametrize("case", CASES)
async def test_greedy_text_is_hfs_and_comes_again_from_the_cache(case: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny-1.5", CASES[case]))
    engine = LocalEngine.load(folder, dtype="float32", quantize="none", threads=1)
    try:
        first, _ = await _last(engine)
        again, last = await _last(engine)
        info = await engine.info()
    finally:
        await engine.aclose()
    assert first == again == _greedy_hf(folder)
    assert last.usage is not None
    assert last.usage.cached_tokens == len(PROMPT) - 1
    assert (info.name, info.fim_family, info.quantization) == ("tiny-1.5", "starcoder", "none")


async def test_mistrals_own_format_is_served_alike(tmp_path: Path) -> None:
    source = write_tokenizer(write_hf(tmp_path / "hf", CASES["mixtral"]))
    folder = write_mistral(source, tmp_path / "mistral")
    shutil.copy(source / "tokenizer.json", folder)
    engine = LocalEngine.load(folder, dtype="float32", threads=1)
    try:
        tokens, _ = await _last(engine)
    finally:
        await engine.aclose()
    assert tokens == _greedy_hf(source)


async def test_bfloat16_stays_close(tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["mixtral"]))
    logprobs = []
    for dtype in ("float32", "bfloat16"):
        engine = LocalEngine.load(folder, dtype=dtype, threads=1)
        sampling = SamplingParams(max_tokens=1, logprobs=1)
        try:
            chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=PROMPT, sampling=sampling))]
        finally:
            await engine.aclose()
        logprobs.append(chunks[0].logprobs[0])
    assert logprobs[0].token_id == logprobs[1].token_id
    assert logprobs[0].logprob == pytest.approx(logprobs[1].logprob, abs=0.1)


def test_an_adapter_for_a_folder_is_refused(tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["mixtral"]))
    with pytest.raises(UsageError, match="GGUF base") as caught:
        LocalEngine.load(folder, adapter=tmp_path / "none", threads=1)
    assert caught.value.hint


@pytest.mark.parametrize("case", ["llama-2", "llama-3.1", "smollm2", "mistral-nemo", "qwen2.5-coder"])
def test_plain_models_are_packed_from_folders_too(case: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES[case]))
    with torch.no_grad():
        theirs = hf_model(folder)(torch.tensor([PROMPT])).logits[0, -1]
    for quantize, tolerance in ((Quantize.NONE, 1e-4), (Quantize.INT8, 0.1), (Quantize.FP8, 0.5)):
        loaded, _ = open_model(folder, dtype=torch.float32, quantize=quantize)
        assert isinstance(loaded, Served)
        assert loaded.quantization == quantize
        ours = loaded.head(loaded.decoder.forward(list(PROMPT), KvCache(loaded.decoder.kv_shape)))[0]
        assert (ours - theirs).abs().max() < tolerance * theirs.abs().max()


@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize("quantize", [Quantize.AUTO, Quantize.INT8, Quantize.INT4])
def test_where_copies_would_take_most_of_the_room_there_are_none(
    layout: str, quantize: Quantize, tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tokenizer(write_hf(tmp_path / "tiny", CASES["llama-2"])) if layout == "folder" else tiny_path
    made: list[Beside] = []

    class Watched(Packer):
        def __init__(self, *, dtype: torch.dtype, quantize: Quantize, beside: Beside = Beside.COPIES) -> None:
            made.append(beside)
            super().__init__(dtype=dtype, quantize=quantize, beside=beside)

    monkeypatch.setattr(load, "Packer", Watched)
    plain = read_details(path).memory_bytes["bfloat16"]
    rows = []
    for room in (20 * plain, int(1.1 * plain)):
        loaded, _ = open_model(path, dtype=torch.bfloat16, quantize=quantize, available_bytes=room)
        assert isinstance(loaded, Served)
        rows.append(loaded.decoder.forward(list(PROMPT), KvCache(loaded.decoder.kv_shape)))
    assert made == [Beside.COPIES, Beside.PAIRS]
    assert (rows[0] - rows[1]).norm() < 0.05 * rows[0].norm()
    with pytest.raises(ModelTooLargeError):
        open_model(path, dtype=torch.bfloat16, quantize=Quantize.NONE, available_bytes=int(plain * 0.9))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither a config\.json nor a params\.json") as caught:
        LocalEngine.load(tmp_path, threads=1)
    assert caught.value.hint


@pytest.mark.parametrize("layout", ["folder", "file"])
def test_what_does_not_fit_is_refused_before_it_is_read(layout: str, tmp_path: Path, tiny_path: Path) -> None:
    path = write_tokenizer(write_hf(tmp_path / "tiny", CASES["llama-2"])) if layout == "folder" else tiny_path
    seen: list[float] = []
    with pytest.raises(ModelTooLargeError, match="GB of memory for its weights") as caught:
        open_model(path, dtype=torch.float32, quantize=Quantize.NONE, progress=seen.append, available_bytes=50_000)
    assert caught.value.hint
    assert not seen
    open_model(path, dtype=torch.float32, quantize=Quantize.NONE, available_bytes=50_000_000)
