"""Kernels against their references on the device that is measured, before anything is timed.

Each check returns the largest difference as a share of the largest answer; `BOUND` is what rounding explains.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from model.config import MlpConfig, RouterConfig
from model.experts.few import few_experts
from model.experts.grouped import torch_grouped_experts, torch_groups, triton_grouped_experts
from model.experts.quantized import quantize_experts
from model.experts.reference import reference_experts
from model.experts.weights import ExpertWeights, Stack
from model.layers import delta, state_space
from model.layers.recurrent import Recurrence
from model.paged.attention import Held, Look, PagedAttention
from model.paged.gathered import GatheredAttention
from model.paged.pool import PAGE_TOKENS
from model.paged.scoring import score
from model.paged.spans import Spans, Steps
from model.paged.triton_attention import TritonAttention
from model.paged.walk import walk
from model.paged.xformers_attention import XformersAttention

BOUND = 2e-2


def check_all(device: torch.device, dtype: torch.dtype) -> dict[str, float | str]:
    """Every check by name; what does not run here says why."""
    found: dict[str, float | str] = {}
    for name, check in (CHECKS if device.type == "cuda" else {}).items():
        try:
            found[name] = check(device, dtype)
        except Exception as error:  # noqa: BLE001 - a check that does not run is a finding
            found[name] = f"{type(error).__name__}: {error}"
    return found


def failed(found: dict[str, float | str]) -> list[str]:
    """Checks that were off or did not run, but for xformers', which another attention replaces."""
    return [
        name
        for name, value in found.items()
        if (isinstance(value, str) and "xformers" not in name) or (isinstance(value, float) and not value < BOUND)
    ]


def _experts(device: torch.device, dtype: torch.dtype, quantize: str | None, tokens: int) -> tuple[float, ...]:
    router = RouterConfig(experts=16, chosen=4, normalize=True)
    generator = torch.Generator(device).manual_seed(1)

    def stack(outputs: int, inputs: int) -> Stack:
        drawn = torch.randn(16, outputs, inputs, device=device, generator=generator)
        return Stack(weight=(drawn * inputs**-0.5).to(dtype))

    config = MlpConfig(intermediate=768, router=router)
    weights = ExpertWeights(gate=stack(768, 1024), up=stack(768, 1024), down=stack(1024, 768), config=config)
    weights = weights if quantize is None else quantize_experts(weights, quantize)
    x = torch.randn(tokens, 1024, device=device, generator=generator).to(dtype)
    shares = torch.rand(tokens, 4, device=device, generator=generator)
    chosen = torch.rand(tokens, 16, device=device, generator=generator).topk(4).indices
    expected = reference_experts(weights, x, shares, chosen)
    ways: list[Callable[[ExpertWeights, Tensor, Tensor, Tensor], Tensor]] = [few_experts, triton_grouped_experts]
    if torch_groups(weights, x):
        ways.append(torch_grouped_experts)
    scale = float(expected.abs().max())
    return tuple(float((way(weights, x, shares, chosen).float() - expected).abs().max()) / scale for way in ways)


def _experts_check(quantize: str | None) -> Callable[[torch.device, torch.dtype], float]:
    return lambda device, dtype: max(max(_experts(device, dtype, quantize, tokens)) for tokens in (1, 8, 50))


def _attention_check(attention: PagedAttention, *, window: int | None) -> Callable[[torch.device, torch.dtype], float]:
    def check(device: torch.device, dtype: torch.dtype) -> float:
        generator = torch.Generator(device).manual_seed(2)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, device=device, generator=generator).to(dtype)

        keys, values = draw(64 * 64, 4, 128), draw(64 * 64, 4, 128)
        look, worst = Look(scale=128**-0.5, window=window), 0.0
        pages = (tuple(range(1, 20)), tuple(range(40, 20, -1)))
        for queries in (1, 4):
            steps = Steps(2, queries, most_tokens=2048, device=device)
            steps.fill([[0] * queries] * 2, [1200, 77], pages)
            steps.begin()
            query = draw(2 * queries, 16, 128)
            held = Held(query[:, :4], query[:, :4], keys, values)
            attend = attention.steady(steps)
            attend.begin()
            expected = GatheredAttention().steady(steps)(query, held, look).float()
            off = (attend(query, held, look).float() - expected).abs().max() / expected.abs().max()
            worst = max(worst, float(off))
        spans = Spans((30, 50), (130, 50), pages, device)
        query = draw(80, 16, 128)
        held = Held(keys[spans.slots], values[spans.slots], keys, values)
        expected = GatheredAttention().ragged(spans)(query, held, look).float()
        off = (attention.ragged(spans)(query, held, look).float() - expected).abs().max() / expected.abs().max()
        return max(worst, float(off))

    return check


def _states_check(*, corrects: bool) -> Callable[[torch.device, torch.dtype], float]:
    """Two sequences of five tokens and of three, in slots out of order; float32, whatever is computed in."""

    def check(device: torch.device, dtype: torch.dtype) -> float:
        generator = torch.Generator(device).manual_seed(3)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, device=device, generator=generator)

        query, key, value = draw(2, 5, 4, 128), functional.normalize(draw(2, 5, 4, 128), dim=-1), draw(2, 5, 8, 64)
        fades, shares = -functional.softplus(draw(2, 5, 8)), draw(2, 5, 8).sigmoid()
        states = draw(9, 8, 128, 64) if corrects else draw(9, 8, 64, 128)
        expected, slots, counts = states.clone(), (6, 2), (5, 3)
        rows = Recurrence(query, key, value, fades, shares if corrects else None)
        placed, counted = (torch.tensor(numbers, device=device) for numbers in (slots, counts))
        found = walk(rows, states, placed, counted)
        off = 0.0
        for row, (slot, count) in enumerate(zip(slots, counts, strict=True)):
            mine = (slice(row, row + 1), slice(0, count))
            if corrects:
                heads = [part[mine].transpose(1, 2).repeat_interleave(2, 1) for part in (query, key)]
                rest = [part[mine].transpose(1, 2) for part in (value, shares, fades)]
                out, state = delta.correct(*heads, *rest, expected[slot, None])
                out = out.transpose(1, 2)
            else:
                out, state = state_space.scan(value[mine], fades[mine], key[mine], query[mine], expected[slot, None])
            expected[slot] = state[0]
            off = max(off, float((found[mine] - out).abs().max() / out.abs().max()))
        return max(off, float((states - expected).abs().max() / expected.abs().max()))

    return check


def _scores_check(device: torch.device, dtype: torch.dtype) -> float:
    """Two sequences' index keys in pages out of order, for one new token of each and for forty."""
    generator = torch.Generator(device).manual_seed(4)
    pages, lengths = ([7, 2, 9, 4], [3, 1, 0, 0]), (250, 128)
    keys = torch.randn(10 * PAGE_TOKENS, 128, device=device, generator=generator).to(dtype)
    tables = torch.tensor(pages, dtype=torch.int32, device=device)
    off = 0.0
    for rows in (1, 40):
        queries = torch.randn(2, 32, rows, 128, device=device, generator=generator).to(dtype)
        weights = torch.randn(2, rows, 32, device=device, generator=generator)
        found = score(queries, weights, keys, tables, torch.tensor(lengths, dtype=torch.int32, device=device))
        for row, length in enumerate(lengths):
            held = keys.view(10, PAGE_TOKENS, 128)[pages[row]].flatten(0, 1)[:length]
            products = torch.relu(queries[row].float() @ held.float().T)
            expected = torch.einsum("jms,mj->ms", products, weights[row])
            off = max(off, float((found[row, :, :length] - expected).abs().max() / expected.abs().max()))
    return off


CHECKS: dict[str, Callable[[torch.device, torch.dtype], float]] = {
    "experts": _experts_check(None),
    "experts, fp8": _experts_check("fp8"),
    "experts, int8": _experts_check("int8"),
    "experts, int4": _experts_check("int4"),
    "states, added to": _states_check(corrects=False),
    "states, corrected": _states_check(corrects=True),
    "index keys": _scores_check,
    "attention, triton": _attention_check(TritonAttention(), window=None),
    "attention, triton, window": _attention_check(TritonAttention(), window=100),
    "attention, xformers": _attention_check(XformersAttention(), window=None),
    "attention, xformers, window": _attention_check(XformersAttention(), window=100),
}
