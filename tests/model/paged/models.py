"""Tiny models of every architecture over pages, and what plays the runner."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.decoder import Decoder
from model.paged.attention import PagedAttention
from model.paged.cache import PagedCache, PagedCaches
from model.paged.decoder import PagedDecoder
from model.paged.gathered import GatheredAttention
from model.paged.pool import PagePool
from model.paged.spans import Remembered, Spans, Steps
from model.paged.states import StatePool
from tests.model.tiny_hf import CASES, write_hf

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def reference(folder: Path, name: str) -> Decoder:
    checkpoint = HuggingFaceCheckpoint(write_hf(folder / name, CASES[name]))
    return fill_decoder(checkpoint.config, checkpoint.weights()).to(DEVICE)


def paged(
    decoder: Decoder, *, pages: int = 40, slots: int = 12, attention: PagedAttention | None = None
) -> tuple[PagedDecoder, PagedCaches]:
    made = PagedDecoder(decoder, attention or GatheredAttention())
    made.pool = PagePool(made.kv_shape, pages=pages, device=DEVICE, joined=made.joined)
    made.states = StatePool(made.kv_shape, slots=slots, device=DEVICE)
    return made, PagedCaches(made.pool, made.states)


def run_ragged(
    decoder: PagedDecoder, caches: PagedCaches, work: list[tuple[PagedCache, list[int]]], *, keep: int | None = None
) -> list[Tensor]:
    """New tokens for each sequence in one step; each one's hidden states. Recurrent states are also kept at `keep`."""
    for cache, tokens in work:
        assert caches.reserve(cache, len(cache.tokens) + len(tokens))
        caches.begin(cache, [] if keep is None else [keep])
    spans = Spans(
        tuple(len(tokens) for _, tokens in work),
        tuple(len(cache.tokens) + len(tokens) for cache, tokens in work),
        tuple(tuple(cache.pages) for cache, _ in work),
        DEVICE,
        tuple(
            Remembered(cache.slot, {length - len(cache.tokens): slot for length, slot in cache.coming.items()})
            for cache, _ in work
        ),
    )
    hidden = decoder.ragged([token for _, tokens in work for token in tokens], spans)
    for cache, tokens in work:
        cache.tokens += tokens
        caches.settle(cache)
    return list(hidden.split(spans.queries))


def run_steady(
    decoder: PagedDecoder, caches: PagedCaches, steps: Steps, work: list[tuple[PagedCache, list[int]]]
) -> list[Tensor]:
    """As `run_ragged`, in buffers of one shape."""
    for cache, _ in work:
        assert caches.reserve(cache, len(cache.tokens) + steps.queries)
    lengths = [len(cache.tokens) + len(tokens) for cache, tokens in work]
    pages, slots = [cache.pages for cache, _ in work], [cache.slot for cache, _ in work]
    steps.fill([tokens for _, tokens in work], lengths, pages, slots)
    hidden = decoder.steady(steps, decoder.attention.steady(steps)).view(steps.sequences, steps.queries, -1)
    for cache, tokens in work:
        cache.tokens += tokens
    return [hidden[row, : len(tokens)] for row, (_, tokens) in enumerate(work)]
