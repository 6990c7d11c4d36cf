"""A whole step as a GPU takes it, on tensors without numbers: nothing lies on the host that belongs on the device, and
the host asks for no number, which a captured graph could not give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.api import SamplingParams
from model.checkpoint.folder import open_folder
from model.experts.compute import compute_on_gpu
from model.experts.few import FEW_TOKENS
from model.experts.projection import QuantizedProjection
from model.on_device import fill_on_device
from model.paged.decoder import PagedDecoder
from model.paged.gathered import GatheredAttention
from model.paged.pool import PagePool
from model.paged.sampling import Kind, Sampling, sample
from model.paged.spans import Remembered, Spans, Steps
from model.paged.states import StatePool
from model.paged.triton_attention import TritonAttention
from tests.model.tiny_hf import CASES, Case, write_hf

pytest.importorskip("triton", reason="triton is not installed: pip install triton --no-deps")

META = torch.device("meta")
KERNELS = (
    "model.experts.few_kernels.gate_up_kernel",
    "model.experts.few_kernels.down_kernel",
    "model.experts.grouped_kernels.grouped_gate_up_kernel",
    "model.experts.grouped_kernels.grouped_down_kernel",
    "model.paged.attention_kernels.split_kernel",
    "model.paged.attention_kernels.join_kernel",
    "model.paged.scoring_kernels.score_kernel",
    "model.paged.walk_kernels.walk_kernel",
)


class Launches:
    """In a kernel's place: counts how often it is launched."""

    def __init__(self) -> None:
        self.count = 0

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        self.count += 1
        return lambda *_, **__: None


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    """As on a Hopper GPU, but that nothing is computed."""
    found = Launches()
    for kernel in KERNELS:
        monkeypatch.setattr(kernel, found)
    monkeypatch.setattr("model.layers.mixture.compute_experts", compute_on_gpu)
    monkeypatch.setattr("model.paged.recall.has_kernel", lambda _: True)
    monkeypatch.setattr("model.paged.indexing.has_kernel", lambda _: True)
    monkeypatch.setattr("model.experts.projection.has_kernel", lambda x: len(x) <= FEW_TOKENS)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    return found


def _decoder(folder: Path, name: str, quantize: str) -> PagedDecoder:
    case = CASES[name]
    if quantize == "int4":  # inputs that fall into groups of 32
        case = Case(case.config, case.settings | {"hidden_size": 64})
    checkpoint = open_folder(write_hf(folder / name, case))
    config, weights = checkpoint.config, checkpoint.weights()
    made = fill_on_device(config, weights, device=META, dtype=torch.bfloat16, quantize=quantize)
    decoder = PagedDecoder(made, TritonAttention())
    decoder.pool = PagePool(decoder.kv_shape, pages=9, device=META, joined=decoder.joined)
    decoder.states = StatePool(decoder.kv_shape, slots=9, device=META)
    return decoder


CHECKED = [
    ("llama-2", "none"),
    ("llama-2", "int4"),
    ("mistral-7b-v0.1", "int8"),
    ("phi-2", "none"),
    ("mixtral", "none"),
    ("mixtral", "fp8"),
    ("mixtral", "int4"),
    ("qwen3-coder", "none"),
    ("granite-3-shared", "int8"),
    ("deepseek-v2", "none"),
    ("deepseek-v2", "fp8"),
    ("mistral-large-4", "none"),
    ("mistral-large-4-shared", "int8"),
    ("gpt-oss", "none"),
    ("gpt-oss", "int4"),
    ("mellum-2", "fp8"),
    ("mamba-2", "none"),
    ("mamba-2", "fp8"),
    ("granite-4", "none"),
    ("granite-4-dense", "fp8"),
    ("qwen3-next", "none"),
    ("qwen3-next", "int4"),
]


@pytest.mark.parametrize(("name", "quantize"), CHECKED)
def test_a_step(name: str, quantize: str, launches: Launches, tmp_path: Path) -> None:
    decoder = _decoder(tmp_path, name, quantize)
    steps = Steps(2, 4, most_tokens=256, device=META)
    sampling = Sampling(2, device=META)
    attend = decoder.attention.steady(steps)
    for kind in Kind:
        steps.fill([[3, 4]], [10], [[1]], [2])
        sampling.fill([SamplingParams(temperature=0.5)], [3])
        logits = decoder.logits(decoder.steady(steps, attend))
        chosen = sample(logits, sampling, steps.positions().flatten(), kind)
        assert (logits.device, logits.shape, chosen.device) == (META, (8, 128), META)
    packed = [module for module in decoder._decoder.modules() if isinstance(module, QuantizedProjection)]
    assert bool(packed) == (quantize != "none")
    recurrent = sum(not layer.is_attention for layer in decoder.config.layers)
    indexed = [layer.attention.index for layer in decoder.config.layers if layer.is_attention]
    attended, choosing = indexed.count(None), sum(index is not None and index.own for index in indexed)
    assert launches.count >= 3 * (2 * attended + choosing + recurrent + len(packed))
    tensors = (*decoder.states.windows, *decoder.states.states, *decoder.pool.keys)
    assert {tensor.device for tensor in tensors} == {META}


@pytest.mark.parametrize(("name", "quantize"), CHECKED)
def test_prompts(name: str, quantize: str, launches: Launches, tmp_path: Path) -> None:
    """From the beginning, and behind a prefix; more tokens than the kernels of few tokens take."""
    decoder = _decoder(tmp_path, name, quantize)
    decoder.attention = GatheredAttention()
    for queries, lengths in (((40, 5), (40, 5)), ((30, 3), (100, 70))):
        states = (Remembered(1, {9: 3, 29: 4}), Remembered(2))
        spans = Spans(queries, lengths, ((1, 2), (3, 4)), META, states)
        logits = decoder.logits(decoder.ragged([7] * sum(queries), spans)[spans.last_rows])
        assert (logits.device, logits.shape) == (META, (2, 128))
