"""Which runner steps a loaded model: one sequence at a time over packed weights, or several together over pages."""

from __future__ import annotations

from collections.abc import Sequence as Several
from functools import partial
from typing import Protocol

import torch

from model.cached_decoder import Loaded
from model.errors import RequestError
from model.on_device import LoadedOnDevice
from model.open_model import LoadedModules
from model.paged.serve import Agree, make_paged_runner
from model.paged.stage import MOST_SEQUENCES
from model.parallel.orders import LayOut
from model.parallel.room import least
from model.prefix_cache import PrefixCache
from model.runner import CHUNK_TOKENS, Runner
from model.sampler import Choice
from model.sequence import Sequence

_SLOTS = 16
_RUNNING = 4
"""Sequences of a class in turn at a time, where each is stepped alone."""


class Runs(Protocol):
    """Steps sequences, and keeps what they computed."""

    steps: int
    drafted: int
    accepted: int

    @property
    def size_bytes(self) -> int:
        """Memory of what is kept."""
        ...

    def pick(self, turns: Several[Sequence]) -> list[Sequence]:
        """Which of these, in the order of their turns, the next step computes. Raises `RequestError` where the first
        one can never be."""
        ...

    def step(self, picked: Several[Sequence]) -> Several[list[Choice] | RequestError]:
        """Compute what `pick` picked: tokens for each, none while its prompt is read; or why it cannot go on."""
        ...

    def release(self, sequence: Sequence) -> None:
        """Keep what an ended sequence computed for those that begin alike."""
        ...


def make_runner(
    served: Loaded | LoadedOnDevice,
    *,
    context_tokens: int,
    cache_bytes: int,
    chunk_tokens: int | None = None,
    drafts: bool = True,
) -> tuple[Runs, int, int]:
    """A runner, the longest sequence that it has room for, and how many sequences of a class take turns.

    `cache_bytes` is for keys and values on a CPU; `chunk_tokens` None: what suits the device.
    """
    reference = followers = None
    if isinstance(served, LoadedOnDevice):
        reference, followers = served.reference, served.followers
    elif isinstance(served, LoadedModules):
        reference = served.decoder.reference
    else:
        prefixes = PrefixCache(served.decoder.kv_shape, budget_bytes=cache_bytes, slots=_SLOTS)
        runner = Runner(
            served.decoder,
            served.head,
            prefixes,
            chunk_tokens=chunk_tokens or CHUNK_TOKENS,
            drafts=drafts and served.rows_agree,
        )
        return runner, context_tokens, _RUNNING
    on_cpu = reference.embedding.weight.device == torch.device("cpu")
    agree: Agree | None = None
    if followers is not None:
        cache_bytes //= followers.count + 1
        followers.tell(LayOut(context_tokens=context_tokens, cache_bytes=cache_bytes))
        agree = partial(least, device=reference.embedding.weight.device)
    paged = make_paged_runner(
        reference,
        context_tokens=context_tokens,
        cache_bytes=cache_bytes,
        prompt_tokens=chunk_tokens or (CHUNK_TOKENS if on_cpu else None),
        drafts=drafts,
        agree=agree,
        tell=None if followers is None else followers.tell,
    )
    return paged, min(context_tokens, paged.most_tokens), MOST_SEQUENCES
