"""What the engine counts for Prometheus: requests, tokens, times. One registry for each app; no text ever enters it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from model import memory
from model.api import Chunk, EngineTimings, Feedback, FinishReason, Measures, Usage
from model.service.timeline import Entry, Timeline

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OUTCOMES = ("ok", "cancelled", "error")
_NO_USAGE = Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)


class Metrics:
    """The instruments, and the page they make. `timeline` has the last generations one by one."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, *, measures: Callable[[], Measures] = Measures) -> None:
        """`measures` asks the engine what it holds."""
        self._registry = registry = CollectorRegistry()
        self.timeline = timeline = Timeline()
        self.requests = Counter("tersely_requests", "Generations by outcome.", ["outcome"], registry=registry)
        self.cancelled = Counter("tersely_cancelled", "Generations whose client went away.", registry=registry)
        self.prompt = Counter("tersely_prompt_tokens", "Prompt tokens, cached ones included.", registry=registry)
        self.cached = Counter("tersely_cached_tokens", "Prompt tokens that were not computed again.", registry=registry)
        self.prefix_hits = Counter(
            "tersely_prefix_hits", "Generations that reused a part of their prompt.", registry=registry
        )
        self.generated = Counter("tersely_generated_tokens", "Tokens generated.", registry=registry)
        self.shown = Counter("tersely_shown", "Suggestions that editors say they showed.", registry=registry)
        self.accepted = Counter("tersely_accepted", "Suggestions that editors say were taken.", registry=registry)
        self.accepted_tokens = Counter(
            "tersely_accepted_tokens", "Generated tokens that editors say were taken, by length.", registry=registry
        )
        self.in_flight = Gauge("tersely_in_flight", "Generations under way.", registry=registry)
        self.queue = _histogram("tersely_queue_seconds", "Waiting for a place in the batch.", registry)
        self.prefill = _histogram("tersely_prefill_seconds", "Reading the prompt.", registry)
        self.decode = _histogram("tersely_decode_seconds", "Writing the answer.", registry)
        self.ttft = _histogram("tersely_ttft_seconds", "From the request to its first token.", registry)
        read_now: dict[str, tuple[str, Callable[[], float]]] = {
            "tersely_unwritten_tokens": (
                "Tokens allowed and not written since the reader closed the answer: at most so many were saved.",
                lambda: timeline.unwritten_tokens,
            ),
            "tersely_saved_reading_seconds": (
                "What reading the cached tokens again would have taken, at the measured speed.",
                lambda: timeline.saved_reading_s or 0.0,
            ),
            "tersely_saved_writing_seconds": (
                "What writing the unwritten tokens would have taken, at the measured speed.",
                lambda: timeline.saved_writing_s or 0.0,
            ),
            "tersely_memory_bytes": ("Memory of the engine's process.", memory.resident_bytes),
            "tersely_cache_bytes": ("Memory of the prefix cache.", lambda: measures().cache_bytes),
            "tersely_drafted_tokens": ("Tokens drafted.", lambda: measures().drafted_tokens),
            "tersely_draft_hits": ("Drafted tokens that were right.", lambda: measures().draft_hits),
        }
        for name, (documentation, read) in read_now.items():
            Gauge(name, documentation, registry=registry).set_function(read)
        for outcome in OUTCOMES:
            self.requests.labels(outcome)

    def page(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def value(self, name: str, **labels: str) -> float:
        """A sample as the page has it; 0 where there is none."""
        return self._registry.get_sample_value(name, labels) or 0.0

    def first_token_counts(self) -> list[int]:
        """How many generations needed up to each of `BUCKETS_S` to their first token, and one more for longer ones."""
        bounds = [*(str(bound) for bound in BUCKETS_S), "+Inf"]
        sums = [int(self.value("tersely_ttft_seconds_bucket", le=bound)) for bound in bounds]
        return [total - before for before, total in zip([0, *sums], sums, strict=False)]

    def heard(self, feedback: Feedback) -> None:
        """An editor says what became of suggestions."""
        self.shown.inc(feedback.shown)
        self.accepted.inc(feedback.accepted)
        self.accepted_tokens.inc(feedback.accepted_tokens)

    @contextmanager
    def watch(self, *, limit_tokens: int | None = None) -> Iterator[Watch]:
        """Follow one generation; it counts as cancelled when it ends with neither a last chunk nor an error."""
        watch = Watch(self, limit_tokens=limit_tokens)
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
    """One generation under way. `limit_tokens`: how many it may write."""

    def __init__(self, metrics: Metrics, *, limit_tokens: int | None) -> None:
        self._metrics = metrics
        self._limit_tokens = limit_tokens
        self._started_s = time.perf_counter()
        self._first_token_s: float | None = None
        self._latest: Chunk | None = None
        self.outcome = "cancelled"

    def saw(self, chunk: Chunk) -> None:
        """Note a chunk."""
        if self._first_token_s is None and (chunk.text or chunk.logprobs):
            self._first_token_s = time.perf_counter() - self._started_s
            self._metrics.ttft.observe(self._first_token_s)
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
        usage, timings = _NO_USAGE, None
        if self._latest is not None:
            usage, timings = self._latest.usage or _NO_USAGE, self._latest.timings
        metrics.prompt.inc(usage.prompt_tokens)
        metrics.cached.inc(usage.cached_tokens)
        metrics.prefix_hits.inc(usage.cached_tokens > 0)
        metrics.generated.inc(usage.completion_tokens)
        if timings is not None:
            metrics.queue.observe(timings.queue_ms / 1000)
            metrics.prefill.observe(timings.prefill_ms / 1000)
            metrics.decode.observe(timings.decode_ms / 1000)
        metrics.timeline.add(self._entry(usage, timings or EngineTimings()))

    def _entry(self, usage: Usage, timings: EngineTimings) -> Entry:
        return Entry(
            number=self._metrics.timeline.latest + 1,
            ended_s=time.time(),
            outcome=self.outcome,
            queue_ms=timings.queue_ms,
            prefill_ms=timings.prefill_ms,
            decode_ms=timings.decode_ms,
            first_token_ms=None if self._first_token_s is None else self._first_token_s * 1000,
            total_ms=(time.perf_counter() - self._started_s) * 1000,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            generated_tokens=usage.completion_tokens,
            limit_tokens=self._limit_tokens,
            memory_bytes=memory.resident_bytes(),
        )


def _histogram(name: str, documentation: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, documentation, buckets=BUCKETS_S, registry=registry)
