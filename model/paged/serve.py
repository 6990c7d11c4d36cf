"""From a decoder's weights to a runner that steps several sequences over pages, with memory sized to what there is."""

from __future__ import annotations

from collections.abc import Callable

from model.decoder import Decoder
from model.device import free_bytes
from model.drafts import StepCosts
from model.paged.cache import PagedCaches
from model.paged.choice import pick_attention
from model.paged.decoder import PagedDecoder
from model.paged.pool import PagePool, pages_within
from model.paged.runner import PROMPT_TOKENS, PagedRunner
from model.paged.stage import MOST_QUERIES, Stage
from model.paged.states import StatePool, least_bytes, slot_bytes, slots_within
from model.parallel.leading import LeadingDecoder, LeadingPool, LeadingStage, LeadingStates, Tell

_GPU_SHARE = 0.85
"""Of what the weights leave free; the rest is for products of prompts and for graphs."""
Agree = Callable[[int], int]

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
    agree: Agree | None = None,
    tell: Tell | None = None,
) -> PagedRunner:
    """`cache_bytes` is for keys and values on a CPU; a GPU gives what it has left. `agree` and `tell` are `lay_out`'s.
    `drafts` on a GPU: where they change no token, which is tried.

    Raises `ModelTooLargeError` where that is not enough for anything.
    """
    decoder, stage = lay_out(reference, context_tokens=context_tokens, cache_bytes=cache_bytes, agree=agree, tell=tell)
    runner = PagedRunner(
        decoder,
        PagedCaches(decoder.pool, decoder.states),
        stage=stage,
        prompt_tokens=prompt_tokens or PROMPT_TOKENS,
        costs=costs,
    )
    if drafts and stage is not None and tell is None:
        runner.draft_where_rows_agree()
    return runner


def lay_out(
    reference: Decoder,
    *,
    context_tokens: int,
    cache_bytes: int,
    agree: Agree | None = None,
    tell: Tell | None = None,
) -> tuple[PagedDecoder, Stage | None]:
    """A decoder with its pools, and a GPU's captured steps. Where several processes compute, `agree` makes one number
    of slots, and one of pages, of what each has room for, and `tell`, the leading one's, tells the others of each
    step."""
    device = reference.embedding.weight.device
    attention = pick_attention(device)
    decoder = PagedDecoder(reference, attention) if tell is None else LeadingDecoder(reference, attention, tell)
    shape, joined = decoder.kv_shape, decoder.joined
    on_cpu_bytes = max(cache_bytes, least_bytes(shape))
    room_bytes = int(free_bytes(device) * _GPU_SHARE) if device.type == "cuda" else on_cpu_bytes
    most_tokens = max(_CONTEXTS * context_tokens, _LEAST_TOKENS)
    slots = slots_within(shape, room_bytes)
    slots = slots if agree is None else agree(slots)
    pages = pages_within(shape, room_bytes - slots * slot_bytes(shape), most_tokens=most_tokens)
    pages = pages if agree is None else agree(pages)
    if tell is None:
        decoder.states = StatePool(shape, slots=slots, device=device)
        decoder.pool = PagePool(shape, pages=pages, device=device, joined=joined)
    else:
        decoder.states = LeadingStates(shape, slots=slots, device=device, tell=tell)
        decoder.pool = LeadingPool(shape, pages=pages, device=device, joined=joined, tell=tell)
    if device.type != "cuda":
        return decoder, None
    capture = may_capture(reference)
    most_tokens = context_tokens + MOST_QUERIES
    if tell is None:
        stage = Stage(decoder, most_tokens=most_tokens, capture=capture)
    else:
        stage = LeadingStage(decoder, most_tokens=most_tokens, capture=capture, tell=tell)
    stage.warm_up()
    return decoder, stage


def may_capture(reference: Decoder) -> bool:
    """Does no module of it look at what the device computed, which a captured step could not?"""
    return not any(getattr(module, "asks_host", False) for module in reference.modules())
