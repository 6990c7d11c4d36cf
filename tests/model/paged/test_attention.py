"""Attention over pages: every backend against masks of xformers, materialized, and a plain softmax.

xformers' packed operators run on a GPU alone: here their masks and layouts are held true, and that they take what they
are handed. Its kernel for single tokens is Triton's, and runs in the interpreter.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from model.paged.attention import Held, Look, PagedAttention
from model.paged.gathered import GatheredAttention
from model.paged.pool import PAGE_TOKENS
from model.paged.spans import Spans, Steps
from model.paged.triton_attention import TritonAttention
from model.paged.xformers_attention import (
    XformersAttention,
    grouped,
    masks,
    prompt_mask,
    step_mask,
    window_mask,
)

pytest.importorskip("xformers", reason="xformers is not installed: pip install xformers==0.0.35 --no-deps")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton --no-deps"
)
BACKENDS = [
    pytest.param(GatheredAttention(), id="gathered"),
    pytest.param(TritonAttention(), id="triton", marks=needs_triton),
]
HEADS = {"one head a group": (2, 2), "grouped": (6, 2), "one group": (4, 1)}
PROMPTS = {
    "empty prefixes": ((5, 1, 70), (5, 1, 70)),
    "prefixes": ((3, 9), (130, 80)),
    "some prefixes": ((4, 66, 1), (4, 100, 64)),
}
LENGTHS = {1: (1, 64, 130), 3: (3, 65, 190)}


@dataclass(frozen=True)
class Scene:
    """Random queries, and a pool in which pages of several sequences lie in any order."""

    query: Tensor
    held: Held
    pages: tuple[tuple[int, ...], ...]


def scene(queries: tuple[int, ...], lengths: tuple[int, ...], *, heads: int, groups: int, head_dim: int = 16) -> Scene:
    generator = torch.Generator().manual_seed(3)
    shuffled = iter((torch.randperm(20, generator=generator) + 1).tolist())
    pages = tuple(tuple(next(shuffled) for _ in range(-(-length // PAGE_TOKENS))) for length in lengths)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    places = 21 * PAGE_TOKENS
    keys, values = draw(places, groups, head_dim), draw(places, groups, head_dim)
    spans = Spans(queries, lengths, pages, DEVICE)
    held = Held(keys[spans.slots], values[spans.slots], keys, values)
    return Scene(draw(sum(queries), heads, head_dim), held, pages)


def plain(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, look: Look) -> Tensor:
    """Softmax attention head by head, in float64; mask [N, S] is added."""
    ratio = query.shape[1] // keys.shape[1]
    heads = []
    for head in range(query.shape[1]):
        key, value = keys[:, head // ratio].double(), values[:, head // ratio].double()
        scores = query[:, head].double() @ key.T * look.scale + mask.double()
        if look.sinks is not None:
            scores = torch.cat((scores, look.sinks[head].double().expand(len(scores), 1)), 1)
        heads.append(torch.softmax(scores, -1)[:, : len(key)] @ value)
    return torch.stack(heads, 1)


def assert_close(found: Tensor, expected: Tensor, *, atol: float = 2e-5) -> None:
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("window", [None, 1, 7, 64], ids=str)
def test_prompts(heads: str, prompts: str, window: int | None) -> None:
    queries, lengths = PROMPTS[prompts]
    found = scene(queries, lengths, heads=HEADS[heads][0], groups=HEADS[heads][1])
    spans, look = Spans(queries, lengths, found.pages, DEVICE), Look(scale=0.3, window=window)
    packed = torch.cat(spans.held)
    mask = prompt_mask(spans, window).materialize((spans.rows, len(packed)), device=DEVICE)
    expected = plain(found.query, found.held.keys[packed], found.held.values[packed], mask, look)
    assert_close(GatheredAttention().ragged(spans)(found.query, found.held, look), expected)


def computed(query: Tensor, keys: Tensor, values: Tensor, *, attn_bias: Any, scale: float) -> Tensor:
    """In the place of xformers' operator, by its own masks: [1, N, G, R, E] over [1, S, G, R, E], heads as they lie."""
    asked, held, given = (part[0].flatten(1, 2) for part in (query, keys, values))
    mask = attn_bias.materialize((len(asked), len(held)), device=DEVICE)
    found = plain(asked, held, given, mask, Look(scale=scale))
    return found.view(query.shape).to(query)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("window", [None, 7], ids=str)
def test_prompts_by_xformers(heads: str, prompts: str, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator itself runs on a GPU; elsewhere what it is handed must be what it takes, but for the device."""
    from xformers.ops import fmha
    from xformers.ops.fmha import Inputs, cutlass

    queries, lengths = PROMPTS[prompts]
    found = scene(queries, lengths, heads=HEADS[heads][0], groups=HEADS[heads][1])
    spans, look = Spans(queries, lengths, found.pages, DEVICE), Look(scale=0.3, window=window)
    query, held = found.query.half(), found.held
    half = Held(held.key.half(), held.value.half(), held.keys.half(), held.values.half())
    refused: list[str] = []

    def instead(*asked: Tensor, attn_bias: Any, scale: float) -> Tensor:
        inputs = Inputs(*asked, attn_bias=attn_bias, scale=scale)
        inputs.validate_inputs()
        refused.extend(cutlass.FwOp.not_supported_reasons(inputs))
        return computed(*asked, attn_bias=attn_bias, scale=scale)

    if DEVICE.type == "cpu":
        monkeypatch.setattr(fmha, "memory_efficient_attention_forward", instead)
    attend = XformersAttention().ragged(spans)
    attend.begin()
    expected = GatheredAttention().ragged(spans)(found.query, held, look)
    for _ in range(2):  # layers share masks and places
        assert_close(attend(query, half, look), expected.double(), atol=4e-3)
    assert all("device=cpu" in reason for reason in refused)
    assert bool(refused) == (DEVICE.type == "cpu")


def fill(steps: Steps, lengths: tuple[int, ...], pages: tuple[tuple[int, ...], ...]) -> None:
    steps.fill([[7] * steps.queries] * len(lengths), lengths, pages)
    steps.begin()


def materialized(steps: Steps, lengths: tuple[int, ...], window: int | None) -> Tensor:
    """The mask that xformers makes for what the buffers hold, [B · Q, places]."""
    bias = masks()
    cpu = torch.device("cpu")
    if window is None:
        mask = bias.PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.from_seqlens(
            [steps.queries] * steps.sequences, list(lengths), steps.tables.cpu(), PAGE_TOKENS, device=cpu
        )
    else:
        mask, buffers = window_mask(steps, window)
        mask.k_seqinfo.seqstart_py = buffers.starts.tolist()
        mask.k_seqinfo.seqlen_py = buffers.ends.tolist()
        mask.block_tables = mask.block_tables.cpu()
    rows = steps.sequences * steps.queries
    notional = mask.block_tables.numel() * PAGE_TOKENS
    return mask.materialize((rows, notional), device=cpu).to(DEVICE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("queries", LENGTHS)
@pytest.mark.parametrize("window", [None, 1, 7, 100], ids=str)
def test_single_tokens(backend: PagedAttention, heads: str, queries: int, window: int | None) -> None:
    lengths = LENGTHS[queries]
    found = scene((queries,) * 3, lengths, heads=HEADS[heads][0], groups=HEADS[heads][1])
    steps, look = Steps(3, queries, most_tokens=200, device=DEVICE), Look(scale=0.3, window=window)
    fill(steps, lengths, found.pages)
    mask = materialized(steps, lengths, window)
    keys, values = found.held.keys[: mask.shape[1]], found.held.values[: mask.shape[1]]
    expected = plain(found.query, keys, values, mask, look)
    attend = backend.steady(steps)
    attend.begin()
    assert_close(attend(found.query, found.held, look), expected)


@pytest.mark.parametrize(("queries", "window"), [(1, 20), (3, None)])
def test_xformers_own_kernel(queries: int, window: int | None) -> None:
    """Its lengths are read from our buffers: the same masks serve two fillings."""
    triton = pytest.importorskip("triton", reason="triton is not installed: pip install triton --no-deps")
    if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 9):
        pytest.skip("xformers' kernel needs block pointers, which Triton dropped with 3.9")
    found = scene((queries,) * 3, LENGTHS[queries], heads=4, groups=2, head_dim=32)
    steps, look = Steps(3, queries, most_tokens=200, device=DEVICE), Look(scale=0.3, window=window)
    half = Held(found.held.key, found.held.value, found.held.keys.half(), found.held.values.half())
    attend = XformersAttention().steady(steps)
    for lengths in (LENGTHS[queries], tuple(max(queries, length - 5) for length in LENGTHS[queries])):
        fill(steps, lengths, found.pages)
        attend.begin()
        expected = GatheredAttention().steady(steps)(found.query, found.held, look)
        assert_close(attend(found.query.half(), half, look), expected.double(), atol=4e-3)


def test_one_mask_serves_as_long_as_its_buffers() -> None:
    steps = Steps(2, 2, most_tokens=128, device=DEVICE)
    mask = step_mask(steps)
    fill(steps, (70, 5), ((3, 4), (2,)))
    assert mask.k_seqinfo.seqlen.tolist() == [70, 5]
    assert mask.block_tables.tolist() == [[3, 4], [2, 0]]
    assert mask.k_seqinfo.max_seqlen == 128


def test_groups_are_not_repeated() -> None:
    query, keys = torch.zeros(5, 6, 8), torch.zeros(9, 2, 8)
    asked, expanded, _ = grouped(query, keys, keys)
    assert asked.shape == (1, 5, 2, 3, 8)
    assert expanded.shape == (1, 9, 2, 3, 8)
    assert expanded.stride(3) == 0
    assert expanded.data_ptr() == keys.data_ptr()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("head_dim", [16, 40])
def test_sinks_and_odd_head_sizes(backend: PagedAttention, head_dim: int) -> None:
    lengths = LENGTHS[3]
    found = scene((3,) * 3, lengths, heads=4, groups=2, head_dim=head_dim)
    look = Look(scale=0.2, window=90, sinks=torch.tensor([0.5, -2.0, 3.0, 0.0], device=DEVICE))
    steps = Steps(3, 3, most_tokens=200, device=DEVICE)
    fill(steps, lengths, found.pages)
    mask = materialized(steps, lengths, 90)
    keys, values = found.held.keys[: mask.shape[1]], found.held.values[: mask.shape[1]]
    expected = plain(found.query, keys, values, mask, look)
    assert_close(backend.steady(steps)(found.query, found.held, look), expected)
    spans = Spans((3,) * 3, lengths, found.pages, DEVICE)
    assert_close(backend.ragged(spans)(found.query, found.held, look), expected)


@needs_triton
def test_values_may_differ_from_keys_in_size() -> None:
    found = scene((2, 2), (70, 3), heads=4, groups=1, head_dim=24)
    held = Held(found.held.key, found.held.value[..., :16], found.held.keys, found.held.values[..., :16].contiguous())
    steps, look = Steps(2, 2, most_tokens=128, device=DEVICE), Look(scale=0.2)
    fill(steps, (70, 3), found.pages)
    expected = GatheredAttention().steady(steps)(found.query, held, look)
    assert expected.shape == (4, 4, 16)
    assert_close(TritonAttention().steady(steps)(found.query, held, look), expected.double())


def test_what_xformers_computes() -> None:
    def held(head_dim: int, value_dim: int) -> Held:
        keys, values = torch.zeros(64, 1, head_dim), torch.zeros(64, 1, value_dim)
        return Held(keys, values, keys, values)

    plain_look = Look(scale=1.0)
    supports = XformersAttention.supports
    assert supports(held(128, 128), plain_look, steady=True)
    assert supports(held(80, 80), plain_look, steady=False)
    assert not supports(held(80, 80), plain_look, steady=True)
    assert not supports(held(192, 128), plain_look, steady=False)
    assert not supports(held(128, 128), Look(scale=1.0, sinks=torch.zeros(2)), steady=False)


def test_padding_of_a_short_sequence_is_seen_by_nobody() -> None:
    """A sequence with one new token in a step of three gives the bits that it gives alone."""
    found = scene((3, 3), (66, 20), heads=4, groups=2)
    look = Look(scale=0.3)
    padded = Steps(2, 3, most_tokens=128, device=DEVICE)
    padded.fill([[7], [7, 7, 7]], (64, 20), found.pages)
    padded.begin()
    assert padded.lengths.tolist() == [66, 20]
    assert padded.positions().tolist() == [[63, 64, 65], [17, 18, 19]]
    alone = Steps(1, 1, most_tokens=128, device=DEVICE)
    alone.fill([[7]], (64,), found.pages[:1])
    alone.begin()
    backend = GatheredAttention()
    beside = backend.steady(padded)(found.query, found.held, look)[0]
    torch.testing.assert_close(backend.steady(alone)(found.query[:1], found.held, look)[0], beside)


def test_sequences_to_spare_write_to_the_scratch_page() -> None:
    steps = Steps(3, 2, most_tokens=128, device=DEVICE)
    steps.fill([[7, 8]], (66,), ((3, 5),))
    steps.begin()
    assert steps.slots().tolist() == [[5 * 64, 5 * 64 + 1], [0, 1], [0, 1]]
    assert steps.tokens.tolist() == [[7, 8], [0, 0], [0, 0]]
