"""What the engine counts for Prometheus: requests, tokens, times. One registry for each app; no text ever enters it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from model.api import Chunk, FinishReason

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The instruments, and the page they make."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("tersely_requests", "Generations by outcome.", ["outcome"], registry=registry)
        self.cancelled = Counter("tersely_cancelled", "Generations whose client went away.", registry=registry)
        self.prompt = Counter("tersely_prompt_tokens", "Prompt tokens, cached ones included.", registry=registry)
        self.cached = Counter("tersely_cached_tokens", "Prompt tokens that were not computed again.", registry=registry)
        self.generated = Counter("tersely_generated_tokens", "Tokens generated.", registry=registry)
        self.in_flight = Gauge("tersely_in_flight", "Generations under way.", registry=registry)
        self.queue = _histogram("tersely_queue_seconds", "Waiting for a place in the batch.", registry)
        self.prefill = _histogram("tersely_prefill_seconds", "Reading the prompt.", registry)
        self.decode = _histogram("tersely_decode_seconds", "Writing the answer.", registry)
        self.ttft = _histogram("tersely_ttft_seconds", "From the request to its first token.", registry)
        for outcome in ("ok", "cancelled", "error"):
            self.requests.labels(outcome)

    def page(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Follow one generation; it counts as cancelled when it ends with neither a last chunk nor an error."""
        watch = Watch(self)
        self.in_flight.inc()
        try:
            yield watch
        except Exception:
            watch.outcome = "error"
            raise
        finally:
            self.in_flight.dec()
            watch.settle()


class Watch:
    """One generation under way."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started_s = time.perf_counter()
        self._latest: Chunk | None = None
        self._has_token = False
        self.outcome = "cancelled"

    def saw(self, chunk: Chunk) -> None:
        """Note a chunk."""
        if not self._has_token and (chunk.text or chunk.logprobs):
            self._has_token = True
            self._metrics.ttft.observe(time.perf_counter() - self._started_s)
        if chunk.usage is not None:
            self._latest = chunk
        if chunk.finish_reason is not None:
            self.outcome = "cancelled" if chunk.finish_reason is FinishReason.ABORT else "ok"

    def settle(self) -> None:
        """Add up, when the generation has ended."""
        metrics = self._metrics
        metrics.requests.labels(self.outcome).inc()
        if self.outcome == "cancelled":
            metrics.cancelled.inc()
        if self._latest is None or self._latest.usage is None:
            return
        usage, timings = self._latest.usage, self._latest.timings
        metrics.prompt.inc(usage.prompt_tokens)
        metrics.cached.inc(usage.cached_tokens)
        metrics.generated.inc(usage.completion_tokens)
        if timings is not None:
            metrics.queue.observe(timings.queue_ms / 1000)
            metrics.prefill.observe(timings.prefill_ms / 1000)
            metrics.decode.observe(timings.decode_ms / 1000)


def _histogram(name: str, documentation: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, documentation, buckets=_SECONDS, registry=registry)
