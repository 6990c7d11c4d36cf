"""Two processes over gloo give the logits of one, whole, cached and over pages."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from model.cached_decoder import CachedDecoder
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.decoder import Decoder
from model.errors import UsageError
from model.experts.projection import QuantizedProjection
from model.experts.quantized import QuantizedStack
from model.kv_cache import KvCache
from model.on_device import fill_on_device, weigh
from model.paged.cache import PagedCaches
from model.paged.decoder import PagedDecoder
from model.paged.gathered import GatheredAttention
from model.paged.pool import PagePool
from model.paged.spans import Remembered, Spans, Steps
from model.paged.states import StatePool, slot_bytes
from model.parallel.meeting import leave, meet
from model.parallel.shard import Part, check_shardable
from tests.model.tiny_hf import CASES, VOCABULARY, Case, write_hf


def _varied(name: str, **settings: object) -> Case:
    return Case(CASES[name].config, CASES[name].settings | settings)


RECURRENT = {
    "mamba-2": _varied("mamba-2", use_bias=True),
    "mamba-2, one group": _varied("mamba-2", n_groups=1),
    "mamba-2, three groups": _varied("mamba-2", n_groups=3, num_heads=12, head_dim=8),
    "granite-4": CASES["granite-4"],
    "granite-4-dense": CASES["granite-4-dense"],
    "qwen3-next": CASES["qwen3-next"],
    "qwen3-next, three key heads": _varied("qwen3-next", linear_num_key_heads=3, linear_num_value_heads=6),
}
"""Groups that lie in one process each, in both, and of three one in both."""
EVEN = {
    "llama-2": _varied("llama-2", hidden_size=128),
    "mixtral": _varied("mixtral", hidden_size=128),
    "mistral-large-4-shared": _varied("mistral-large-4-shared", hidden_size=128, v_head_dim=16),
    "mamba-2": _varied("mamba-2", hidden_size=128, head_dim=32),
    "granite-4": _varied("granite-4", hidden_size=128, mamba_d_head=32, shared_intermediate_size=64),
    "qwen3-next": _varied(
        "qwen3-next",
        hidden_size=128,
        linear_key_head_dim=32,
        linear_value_head_dim=64,
        shared_expert_intermediate_size=64,
    ),
}
"""Of such sizes that cuts fall between groups of 32, as in every model of common sizes."""
ATTENTIVE = (
    "llama-2",
    "mixtral",
    "deepseek-v2",
    "mistral-small-4",
    "mistral-large-4",
    "mistral-large-4-shared",
    "gpt-oss",
    "phi-2",
)
MODELS = {name: CASES[name] for name in ATTENTIVE} | RECURRENT
IDS: list[int] = torch.randint(0, VOCABULARY, (30,), generator=torch.Generator().manual_seed(2)).tolist()
CPU = torch.device("cpu")


def _load(folder: Path, part: Part | None = None) -> Decoder:
    checkpoint = HuggingFaceCheckpoint(folder)
    if part is None:
        return fill_decoder(checkpoint.config, checkpoint.weights())
    decoder = fill_decoder(
        checkpoint.config, ((name, part.cut(checkpoint.config, name, w)) for name, w in checkpoint.weights())
    )
    part.join(decoder)
    return decoder


def _all_ways(decoder: Decoder) -> list[Tensor]:
    """Logits of all tokens: at once, behind a cache, over pages, and there the last few in a step of fixed shape."""
    cached = CachedDecoder(decoder)
    cache = KvCache(cached.kv_shape)
    parts = [cached.forward(IDS[:11], cache, last_only=False), cached.forward(IDS[11:], cache, last_only=False)]
    hidden = [decoder(torch.tensor([IDS]))[0], torch.cat(parts), _paged(decoder, few=0), _paged(decoder, few=5)]
    return [decoder.head(found) for found in hidden]


def _paged(decoder: Decoder, *, few: int) -> Tensor:
    """Hidden states over pages and slots, the last `few` in a step with room for eight."""
    paged = PagedDecoder(decoder, GatheredAttention())
    paged.pool = PagePool(paged.kv_shape, pages=3, device=CPU, joined=paged.joined)
    paged.states = StatePool(paged.kv_shape, slots=3, device=CPU)
    caches = PagedCaches(paged.pool, paged.states)
    held = caches.acquire(IDS)
    caches.reserve(held, len(IDS) + 8)
    many = len(IDS) - few
    spans = Spans((many,), (many,), (tuple(held.pages),), CPU, (Remembered(held.slot),))
    found = paged.ragged(IDS[:many], spans)
    if not few:
        return found
    steps = Steps(2, 8, most_tokens=64, device=CPU)
    steps.fill([IDS[many:]], [len(IDS)], [held.pages], [held.slot])
    return torch.cat((found, paged.steady(steps, paged.attention.steady(steps))[:few]))


def _slot(decoder: Decoder) -> int:
    """Bytes of one sequence's recurrent states."""
    return slot_bytes(PagedDecoder(decoder, GatheredAttention()).kv_shape)


def _work(rank: int, folders: list[Path], out: Path) -> None:
    torch.set_num_threads(1)
    meet(out / "meeting", rank=rank, processes=2, patience=timedelta(minutes=5))
    with torch.no_grad():
        for folder in folders:
            whole = sum(weight.numel() for weight in _load(folder).parameters())
            decoder = _load(folder, Part(rank=rank, processes=2))
            own = sum(weight.numel() for weight in decoder.parameters())
            found = {"logits": _all_ways(decoder), "share": own / whole, "slot": _slot(decoder)}
            torch.save(found, out / f"{folder.name}.{rank}")
    leave()
    os._exit(0)  # gloo's threads now and then abort a process that ends as others do: what it computed is written


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    tmp = tmp_path_factory.mktemp("shard")
    folders = [write_hf(tmp / name, case) for name, case in MODELS.items()]
    out = tmp / "out"
    out.mkdir()
    mp.spawn(_work, args=(folders, out), nprocs=2)
    return folders, out


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(MODELS)), ids=list(MODELS))
def test_two_processes_give_the_logits_of_one(results: tuple[list[Path], Path], number: int) -> None:
    folders, out = results
    decoder = _load(folders[number])
    with torch.no_grad():
        expected = decoder.head(decoder(torch.tensor([IDS]))[0])
    for rank in (0, 1):
        found = torch.load(out / f"{folders[number].name}.{rank}")
        for logits in found["logits"]:
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
        assert found["share"] < 0.85  # embeddings, which are many in models so small, are whole in both
        assert found["slot"] <= 0.6 * _slot(decoder)  # what a group of heads in both shares is convolved in both


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    decoder = _load(write_hf(tmp_path / "mixtral", CASES["mixtral"]))
    with pytest.raises(UsageError, match="cannot be shared by 3 processes") as caught:
        check_shardable(decoder.config, 3)
    assert caught.value.hint
    first, *rest = decoder.config.layers
    odd = replace(first, mixer=replace(first.attention, kv_heads=1))
    with pytest.raises(UsageError, match="1 key/value heads"):
        check_shardable(replace(decoder.config, layers=(odd, *rest)), 2)


@pytest.mark.parametrize(("name", "heads"), [("mamba-2", 8), ("granite-4", 8), ("qwen3-next", 4)])
def test_recurrent_heads_that_cannot_be_shared_are_refused(name: str, heads: int, tmp_path: Path) -> None:
    config = HuggingFaceCheckpoint(write_hf(tmp_path / "m", CASES[name])).config
    with pytest.raises(UsageError, match=f"{heads} recurrent heads cannot be shared by 3 processes") as caught:
        check_shardable(config, 3)
    assert caught.value.hint
    for processes in (1, 2):
        check_shardable(config, processes)


@pytest.mark.parametrize("name", EVEN)
def test_four_bits_of_a_part_are_a_part_of_the_wholes(name: str, tmp_path: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "m", EVEN[name]))
    whole = _four_bits(checkpoint)
    for rank in range(2):
        part = Part(rank=rank, processes=2)
        made = _four_bits(checkpoint, part)
        assert made.keys() == whole.keys()
        for owner, matrices in whole.items():
            named = f"{owner}.weight" if matrices.dim() == 2 else owner
            assert torch.equal(made[owner], part.cut(checkpoint.config, named, matrices)), owner
        needs, wide = (weigh(checkpoint.config, "int4", torch.float32, part=one) for one in (part, None))
        assert wide.whole_bytes / 2 < needs.whole_bytes < wide.whole_bytes


def _four_bits(checkpoint: HuggingFaceCheckpoint, part: Part | None = None) -> dict[str, Tensor]:
    """What each packed matrix, or stack of them, stands for."""
    weights = (
        (name, weight if part is None else part.cut(checkpoint.config, name, weight))
        for name, weight in checkpoint.weights()
    )
    made = fill_on_device(checkpoint.config, weights, device=CPU, dtype=torch.float32, quantize="int4")
    found: dict[str, Tensor] = {}
    for owner, module in made.named_modules():
        if isinstance(module, QuantizedStack):
            stack = module.with_bias(None)
            found[owner] = torch.stack([stack.matrix(expert, torch.float32) for expert in range(len(stack.weight))])
        elif isinstance(module, QuantizedProjection):
            assert module.weight.dtype is torch.uint8
            found[owner] = module.stack.matrix(0, torch.float32)
    return found
