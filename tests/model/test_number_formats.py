"""Every architecture in every number format: what is packed, what is not, and how far the answers move.

The measure is the mean Kullback-Leibler divergence of the next token's distribution from that in float32, over every
position of fixed prompts. Tiny random models are worse than real ones by far: their weights are noise, without the few
directions that decide in a trained model, so their bound is loose and the real model's is the one that counts.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.folder import open_folder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.checkpoint.llama import load_decoder
from model.decoder import Decoder
from model.kv_cache import KvCache
from model.layers.packed import PackedProjection, PackedStack
from model.load import load_served
from model.on_device import fill_on_device
from model.open_model import open_model
from model.packer import Packer, Quantize
from model.tokenizer_gguf import read_gguf_tokenizer
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny_hf import CASES, VOCABULARY, Case, write_hf

FORMATS = [Quantize.INT8, Quantize.INT4, Quantize.FP8, Quantize.FP8_BLOCK]
TINY_BOUNDS = {Quantize.INT8: 0.1, Quantize.INT4: 0.8, Quantize.FP8: 0.4, Quantize.FP8_BLOCK: 0.4}
REAL_BOUNDS = {Quantize.INT8: 0.01, Quantize.INT4: 0.005, Quantize.FP8: 0.04, Quantize.FP8_BLOCK: 0.04}
"""Of SmolLM2 135M, the embedded model, whose weights are 4-bit already."""
GPU_BOUNDS = {"none": 0.003, "int8": 0.01, "int4": 0.005, "fp8": 0.05, "fp8-block": 0.01}
"""Likewise, as they are packed for a GPU, in bfloat16; blocks hold the down projections alone, since 128 does not
divide the model's 576."""
PROMPT = """def merge(left: list[int], right: list[int]) -> list[int]:
    merged = []
    while left and right:
        merged.append(left.pop(0) if left[0] <= right[0] else right.pop(0))
    return merged + left + right


class Stack:
    def __init__(self) -> None:
        self._items: list[int] = []

    def push(self, item: int) -> None:
        self._items.append(item)

    def pop(self) -> int:
        if not self._items:
            raise IndexError("pop from an empty stack")
        return self._items.pop()
"""


def divergence(exact: Tensor, other: Tensor) -> float:
    """Mean over rows of KL(exact ‖ other), of logits [N, V]."""
    first, second = torch.log_softmax(exact.float(), -1), torch.log_softmax(other.float(), -1)
    return float((first.exp() * (first - second)).sum(-1).mean())


BLOCKS = [
    "llama-biased",
    "mixtral",
    "gpt-oss",
    "deepseek-v2",
    "mistral-large-4-shared",
    "phi-2",
    "starcoder2",
    "granite-4",
    "qwen3-next",
    "mamba-2",
]
"""Together they have every building block."""
WIDE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
    "shared_intermediate_size": 64,
    "mamba_d_head": 16,
}
"""Sizes that the int4 kernel takes: outputs by 64, inputs by 32."""


@pytest.fixture(scope="module", params=BLOCKS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    case = CASES[request.param]
    sizes = {name: size for name, size in WIDE.items() if name in ("hidden_size", "intermediate_size", *case.settings)}
    if request.param == "mamba-2":
        sizes = {"hidden_size": 64, "head_dim": 16}
    wide = Case(case.config, case.settings | sizes)
    return open_folder(write_hf(tmp_path_factory.mktemp("hf") / request.param, wide))


def _packed(checkpoint: Checkpoint, quantize: Quantize) -> Decoder:
    packer = Packer(dtype=torch.float32, quantize=quantize)
    return fill_decoder(checkpoint.config, checkpoint.weights(), packer=packer)


def _ids() -> Tensor:
    return torch.randint(0, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))


def _logits(decoder: Decoder) -> Tensor:
    with torch.no_grad():
        logits: Tensor = decoder.head(decoder(_ids()))
    return logits.flatten(0, 1)


def test_every_format_stays_within_its_bound(checkpoint: Checkpoint) -> None:
    exact = _logits(fill_decoder(checkpoint.config, checkpoint.weights()))
    for quantize in FORMATS:
        moved = divergence(exact, _logits(_packed(checkpoint, quantize)))
        assert 1e-7 < moved < TINY_BOUNDS[quantize], quantize


def test_projections_and_experts_are_packed_and_what_decides_is_not(checkpoint: Checkpoint) -> None:
    decoder = _packed(checkpoint, Quantize.FP8)
    plain = {name for name, part in decoder.named_modules() if isinstance(part, nn.Linear)}
    kept = {name.rpartition(".")[2] for name in plain}
    assert kept <= {"lm_head", "kv_up_proj", "beta_proj", "step_proj", "shared_gate", "head_weights"}
    packed = [part for part in decoder.modules() if isinstance(part, PackedProjection | PackedStack)]
    assert len(packed) >= 4 * len(decoder.layers) - 4 or checkpoint.config.architecture == "mamba2"
    routers = [weight for name, weight in decoder.named_parameters() if ".router." in name]
    routed = [layer for layer in checkpoint.config.layers if layer.mlp.router is not None]
    assert len(routers) >= len(routed)
    wide = fill_decoder(checkpoint.config, checkpoint.weights(), dtype=torch.bfloat16)
    for name, weight in wide.named_parameters():
        steering = ("rate_log", "step_bias", "skip", "head_weights.weight", "rope_exponents")
        precise = ".router." in name or "norm." in name or name.endswith(steering)
        assert weight.dtype == (torch.float32 if precise else torch.bfloat16), name
    assert torch.isfinite(_logits(wide)).all()


@pytest.mark.parametrize("quantize", FORMATS, ids=str)
def test_any_folder_is_served_in_any_format(quantize: Quantize, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["mixtral"]))
    loaded, _ = open_model(folder, dtype=torch.float32, quantize=quantize)
    # rows of 48 numbers do not fall into the groups of 32 that the int4 kernel wants
    assert loaded.quantization == ("int8" if quantize is Quantize.INT4 else quantize)


def test_memory_that_a_format_saves_counts(tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["mixtral"]))
    checkpoint = open_folder(folder)
    sizes = [checkpoint.footprint_bytes(quantize=one, dtype=torch.bfloat16) for one in (Quantize.NONE, *FORMATS)]
    assert sizes[0] == 2 * checkpoint.parameters
    assert sizes[0] > sizes[1] == sizes[3] == sizes[4] > sizes[2]
    open_model(folder, dtype=torch.bfloat16, quantize=Quantize.INT4, available_bytes=sizes[0] - 1)


@pytest.fixture(scope="module")
def exact(embedded_path: Path) -> tuple[list[int], Tensor]:
    """The prompt's tokens, and the real model's logits in float32 from the weights as the file has them."""
    with GgufFile(embedded_path) as file:
        ids = read_gguf_tokenizer(file).encode(PROMPT)
        decoder = load_decoder(file)
    with torch.no_grad():
        return ids, decoder.head(decoder(torch.tensor([ids])))[0]


@pytest.mark.model
@pytest.mark.parametrize("quantize", FORMATS, ids=str)
def test_a_real_model_stays_within_its_bound(
    quantize: Quantize, exact: tuple[list[int], Tensor], embedded_path: Path
) -> None:
    ids, expected = exact
    with GgufFile(embedded_path) as file:
        served = load_served(file, dtype=torch.bfloat16, quantize=quantize)
    # Single tokens go by the packed integers' own kernels; fp8 has none, and multiplies the same for any number.
    size = len(ids) if quantize.startswith("fp8") else 1
    cache, pieces = KvCache(served.decoder.kv_shape), [ids[start : start + size] for start in range(0, len(ids), size)]
    hidden = torch.cat([served.decoder.forward(piece, cache, last_only=False) for piece in pieces])
    found = served.head(hidden)
    moved = divergence(expected, found)
    agreement = float((expected.argmax(-1) == found.argmax(-1)).float().mean())
    print(f"{quantize}: mean KL {moved:.5f}, same likeliest token {agreement:.3f} of {len(ids)}")
    assert moved < REAL_BOUNDS[quantize]
    assert agreement > 0.85


@pytest.mark.model
@pytest.mark.parametrize("quantize", GPU_BOUNDS)
def test_a_gpus_formats_stay_within_their_bounds(
    quantize: str, exact: tuple[list[int], Tensor], embedded_path: Path
) -> None:
    """Packed as for a GPU, multiplied here: scales are each output's, or each run's of 128 inputs."""
    ids, expected = exact
    with GgufFile(embedded_path) as file:
        checkpoint = GgufCheckpoint(file)
        made = fill_on_device(
            checkpoint.config,
            checkpoint.weights(),
            device=torch.device("cpu"),
            dtype=torch.bfloat16,
            quantize=quantize,
        )
    with torch.no_grad():
        found = made.head(made(torch.tensor([ids])))[0]
    moved = divergence(expected, found)
    agreement = float((expected.argmax(-1) == found.argmax(-1)).float().mean())
    print(f"on a GPU, {quantize}: mean KL {moved:.5f}, same likeliest token {agreement:.3f} of {len(ids)}")
    assert 1e-5 < moved < GPU_BOUNDS[quantize]
    assert agreement > 0.85
