"""One step of one sequence: a chunk of its prompt, or one token. Knows no clients and no text."""

from __future__ import annotations

import time

from model.head import Head
from model.prefix_cache import PrefixCache
from model.sampler import Choice
from model.sequence import Sequence
from model.serving import ServingDecoder

CHUNK_TOKENS = 128
"""A prompt is computed in such pieces: others may overtake, and cancellation takes effect, between them."""


class Runner:
    """Runs the model over a sequence's pending tokens and chooses the next. `steps` counts the runs."""

    def __init__(
        self, decoder: ServingDecoder, head: Head, prefixes: PrefixCache, *, chunk_tokens: int = CHUNK_TOKENS
    ) -> None:
        self._decoder = decoder
        self._head = head
        self._prefixes = prefixes
        self._chunk_tokens = chunk_tokens
        self.steps = 0

    def run(self, sequence: Sequence) -> Choice | None:
        """Compute up to a chunk of what is pending; the next token when nothing is left, else None."""
        began = time.perf_counter()
        clock = sequence.clock
        if sequence.cache is None:
            clock.queue_ms = (began - clock.queued_at) * 1e3
            sequence.cache = self._prefixes.acquire(sequence.prompt)
            sequence.cached_tokens = len(sequence.cache.tokens)
        self.steps += 1
        pending = sequence.pending()
        chunk = pending[: self._chunk_tokens]
        hidden = self._decoder.forward(chunk, sequence.cache)
        choice = sequence.sampler.choose(self._head(hidden)) if len(chunk) == len(pending) else None
        spent_ms = (time.perf_counter() - began) * 1e3
        if sequence.generated:
            clock.decode_ms += spent_ms
        else:
            clock.prefill_ms += spent_ms
        return choice

    def release(self, sequence: Sequence) -> None:
        """Keep what an ended sequence computed for those that begin alike."""
        if sequence.cache is not None:
            self._prefixes.release(sequence.cache)
            sequence.cache = None
