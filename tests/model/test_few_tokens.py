"""A few tokens at once against one after another: the same bits, wherever they stand."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checkpoint.gguf import GgufFile
from model.few_tokens import FEW_TOKENS
from model.head import FEW_CANDIDATES
from model.kv_cache import KvCache
from model.load import Served, load_served
from model.packer import Quantize
from model.tokenizer import read_tokenizer
from tests.model.tiny import write_tiny

Q4_1 = gguf.GGMLQuantizationType.Q4_1
GROUPS = st.lists(st.integers(1, FEW_TOKENS), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=[Quantize.INT8, Quantize.INT4], ids=str)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    path = write_tiny(tmp_path_factory.mktemp("few") / "m.gguf", quantization=Q4_1)
    with GgufFile(path) as file:
        return load_served(file, dtype=torch.bfloat16, quantize=request.param)


def assert_same_bits(served: Served, ids: list[int], prompt: int, groups: list[int]) -> None:
    together, alone = KvCache(served.decoder.kv_shape), KvCache(served.decoder.kv_shape)
    if prompt:
        served.decoder.forward(ids[:prompt], together)
        served.decoder.forward(ids[:prompt], alone)
    rest = ids[prompt:]
    for size in groups:
        group, rest = rest[:size], rest[size:]
        hidden = served.decoder.forward(group, together, last_only=False)
        steps = [served.decoder.forward([token], alone) for token in group]
        assert torch.equal(hidden, torch.cat(steps))
        logits = served.head(hidden, candidates=FEW_CANDIDATES)
        assert torch.equal(logits, torch.cat([served.head(step, candidates=FEW_CANDIDATES) for step in steps]))
    for ours, theirs in zip(together.tables, alone.tables, strict=True):
        assert all(map(torch.equal, ours, theirs))


@settings(max_examples=25, deadline=None)
@given(groups=GROUPS, prompt=st.integers(0, 150), seed=st.integers(0, 99))
def test_any_grouping_gives_the_same_bits(served: Served, groups: list[int], prompt: int, seed: int) -> None:
    assert served.rows_agree
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 200, (prompt + sum(groups),), generator=generator).tolist()
    assert_same_bits(served, ids, prompt, groups)


def test_float32_kernels_are_not_taken_to_agree(tiny_path: Path) -> None:
    with GgufFile(tiny_path) as file:
        served = load_served(file, dtype=torch.float32, quantize=Quantize.NONE)
    hidden = torch.randn(FEW_TOKENS, served.config.hidden, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([served.head(row[None]) for row in hidden])
    if not torch.equal(served.head(hidden), alone):
        assert not served.rows_agree


@pytest.mark.model
def test_the_embedded_model_gives_the_same_bits(embedded_path: Path) -> None:
    with GgufFile(embedded_path) as file:
        ids = read_tokenizer(file).encode(Path(__file__).read_text(encoding="utf-8"))
        served = load_served(file, dtype=torch.bfloat16, quantize=Quantize.AUTO)
    assert served.rows_agree
    assert_same_bits(served, ids, 500, [4, 1, 3, 2, 4, 4, 1, 4])
