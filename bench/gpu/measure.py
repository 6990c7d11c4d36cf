"""What one model does on the device: tokens a second at batch 1, time to a first token, and the bandwidth's bound."""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import Any

import torch

from bench.gpu.models import Measured, bytes_per_token, random_decoder
from model.api import SamplingParams
from model.paged.cache import PagedCache, PagedCaches
from model.paged.choice import ChosenAttention, pick_attention
from model.paged.decoder import PagedDecoder
from model.paged.pool import PagePool, pages_for
from model.paged.runner import PROMPT_TOKENS
from model.paged.sampling import Kind
from model.paged.spans import Remembered, Spans
from model.paged.stage import Stage, Work
from model.paged.states import StatePool


def bandwidth(device: torch.device, size_bytes: int) -> float:
    """Bytes a second that a copy reads and writes, the best of five."""
    source = torch.empty(size_bytes, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        wait(device)
        began = time.perf_counter()
        target.copy_(source)
        wait(device)
        best = max(best, 2 * size_bytes / (time.perf_counter() - began))
    return best


def wait(device: torch.device) -> None:
    """Until all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Bench:
    """A model with random weights over pages, as the engine runs it."""

    def __init__(
        self, model: Measured, *, device: torch.device, dtype: torch.dtype, quantize: str, context_tokens: int
    ) -> None:
        self.device = device
        config = model.config
        reference = random_decoder(config, device=device, dtype=dtype, quantize=quantize)
        self.decoder = PagedDecoder(reference, pick_attention(device))
        pages = 4 * pages_for(context_tokens + 256) + 1
        shape, joined = self.decoder.kv_shape, self.decoder.joined
        self.decoder.pool = PagePool(shape, pages=pages, device=device, joined=joined)
        self.decoder.states = StatePool(shape, slots=8 if shape.states else 1, device=device)
        self.caches = PagedCaches(self.decoder.pool, self.decoder.states)
        self.stage = Stage(self.decoder, most_tokens=context_tokens + 256)
        self._text = torch.randint(0, config.vocabulary, (context_tokens,), generator=torch.Generator().manual_seed(3))

    def read(self, tokens: int, *, first: int) -> tuple[PagedCache, int]:
        """Compute a prompt in the engine's parts; the cache, and the first token after it. `first` makes it new."""
        prompt = [first, *self._text[: tokens - 1].tolist()]
        cache = self.caches.acquire(prompt)
        assert not cache.tokens
        hidden = None
        for begin in range(0, tokens, PROMPT_TOKENS):
            part = prompt[begin : begin + PROMPT_TOKENS]
            assert self.caches.reserve(cache, begin + len(part))
            self.caches.begin(cache, [])
            states = (Remembered(cache.slot),)
            spans = Spans((len(part),), (begin + len(part),), (tuple(cache.pages),), self.device, states)
            hidden = self.decoder.ragged(part, spans)[-1:]
            cache.tokens += part
            self.caches.settle(cache)
        assert hidden is not None
        return cache, int(self.decoder.logits(hidden).argmax())

    def write(self, cache: PagedCache, new: list[int]) -> list[int]:
        """One step for one sequence; the token behind each of the new ones."""
        assert self.caches.reserve(cache, len(cache.tokens) + 8)
        self.caches.begin(cache, [])
        work = Work(new, len(cache.tokens) + len(new), cache.pages, SamplingParams(), 0, cache.slot)
        chosen = self.stage.run([work], Kind.GREEDY).tokens[0]
        cache.tokens += new
        self.caches.settle(cache)
        return chosen


def measure(
    model: Measured,
    *,
    device: torch.device,
    dtype: torch.dtype,
    quantize: str,
    bytes_per_s: float,
    context_tokens: int,
    prompt_tokens: int,
    steps: int,
) -> dict[str, Any]:
    """Figures of one model in one format, by name."""
    bench = Bench(model, device=device, dtype=dtype, quantize=quantize, context_tokens=context_tokens)
    bench.read(prompt_tokens, first=0)  # compiles
    cold_ms = []
    for first in (1, 2, 3):
        began = time.perf_counter()
        cache, token = bench.read(prompt_tokens, first=first)
        cold_ms.append((time.perf_counter() - began) * 1e3)
        bench.caches.release(cache)
    cache, token = bench.read(context_tokens, first=4)
    bench.write(cache, [token] * 8)
    warm_ms = []
    for _ in range(5):
        began = time.perf_counter()
        token = bench.write(cache, [token] * 8)[-1]
        warm_ms.append((time.perf_counter() - began) * 1e3)
    token = bench.write(cache, [token])[0]
    step_ms = []
    for _ in range(steps):
        began = time.perf_counter()
        token = bench.write(cache, [token])[0]
        step_ms.append((time.perf_counter() - began) * 1e3)
    each = bytes_per_token(model.config, quantize, dtype, context_tokens=context_tokens)
    roofline, found = bytes_per_s / each, 1e3 / median(step_ms)
    aim = model.aims[quantize]
    attention = bench.decoder.attention
    return {
        "format": quantize,
        "tokens_per_s": round(found, 1),
        "aim": aim if aim > 1 else f"{aim:.0%} of the roofline",
        "met": found >= aim if aim > 1 else found >= aim * roofline,
        "roofline_tokens_per_s": round(roofline, 1),
        "share_of_roofline": round(found / roofline, 3),
        "gigabytes_per_token": round(each / 1e9, 3),
        "first_token_cold_ms": round(median(cold_ms), 2),
        "first_token_warm_8_ms": round(median(warm_ms), 2),
        "attention": sorted(set(attention.chosen.values())) if isinstance(attention, ChosenAttention) else ["gathered"],
    }


def free(device: torch.device) -> None:
    """Give memory back between models."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
