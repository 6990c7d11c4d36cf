"""From a decoder's weights to a runner that steps several sequences over pages, with memory sized to what there is."""

from __future__ import annotations

from model.decoder import Decoder
from model.device import free_bytes
from model.drafts import StepCosts
from model.paged.cache import PagedCaches
from model.paged.choice import pick_attention
from model.paged.decoder import PagedDecoder
from model.paged.pool import PagePool, pages_within
from model.paged.runner import PROMPT_TOKENS, PagedRunner
from model.paged.stage import MOST_QUERIES, Stage

_GPU_SHARE = 0.85
"""Of what the weights leave free; the rest is for products of prompts and for graphs."""
_CONTEXTS = 4
_LEAST_TOKENS = 1 << 17
"""No more is kept than so many whole contexts or tokens, whichever is more: idle memory of a GPU is others' too."""


def make_paged_runner(
    reference: Decoder,
    *,
    context_tokens: int,
    cache_bytes: int,
    prompt_tokens: int | None = None,
    drafts: bool = False,
    costs: StepCosts | None = None,
) -> PagedRunner:
    """`cache_bytes` is for keys and values on a CPU; a GPU gives what it has left.

    Raises `ModelTooLargeError` where that is not enough for anything.
    """
    device = reference.embedding.weight.device
    decoder = PagedDecoder(reference, pick_attention(device))
    room_bytes = int(free_bytes(device) * _GPU_SHARE) if device.type == "cuda" else cache_bytes
    most_tokens = max(_CONTEXTS * context_tokens, _LEAST_TOKENS)
    pages = pages_within(decoder.kv_shape, room_bytes, most_tokens=most_tokens)
    decoder.pool = PagePool(decoder.kv_shape, pages=pages, device=device, joined=decoder.joined)
    caches = PagedCaches(decoder.pool)
    stage = None
    if device.type == "cuda":
        asks_host = any(getattr(module, "asks_host", False) for module in reference.modules())
        stage = Stage(decoder, most_tokens=context_tokens + MOST_QUERIES, capture=not asks_host)
        stage.warm_up()
    return PagedRunner(
        decoder, caches, stage=stage, prompt_tokens=prompt_tokens or PROMPT_TOKENS, drafts=drafts, costs=costs
    )
