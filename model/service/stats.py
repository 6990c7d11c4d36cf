"""The engine's figures as JSON, once or as they change: what the page shows, and `/metrics` has too. No HTTP here."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import asdict

from model import memory
from model.service.host import ModelHost
from model.service.metrics import BUCKETS_S, OUTCOMES, Metrics
from model.service.reply import Json, event

_LOOK_S = 0.5
"""How often a listener is told of changes at most."""
_HEARTBEAT_S = 10.0
"""How long a listener hears nothing at most: memory changes without requests."""


class Stats:
    """The figures of one host."""

    def __init__(self, host: ModelHost, metrics: Metrics, *, version: str) -> None:
        self._host = host
        self._metrics = metrics
        self._version = version
        self._started_s = time.time()

    def snapshot(self, *, after: int = 0) -> Json:
        """All figures; of the single requests only those with numbers above `after`."""
        return {
            "engine": self._engine(),
            "totals": self._totals(),
            "saved": self._saved(),
            "memory": self._memory(),
            "first_token": self._first_token(),
            "requests": [asdict(entry) for entry in self._metrics.timeline.after(after)],
            "latest": self._metrics.timeline.latest,
        }

    async def events(self, *, after: int = 0) -> AsyncGenerator[bytes, None]:
        """A snapshot as a server-sent event now, and another whenever something has changed, until it is closed."""
        told: object = None
        told_s = 0.0
        while True:
            now = (self._host.status, self._metrics.timeline.latest, self._totals())
            if now != told or time.monotonic() - told_s > _HEARTBEAT_S:
                body = self.snapshot(after=after)
                told, told_s, after = now, time.monotonic(), int(body["latest"])
                yield event(body)
            await asyncio.sleep(_LOOK_S)

    def _engine(self) -> Json:
        status, info = self._host.status, self._host.info
        model = None if info is None else asdict(info)
        return {
            "model_name": self._host.name,
            "model": model,
            "state": status.state.value,
            "message": status.message,
            "hint": status.hint,
            "fraction": status.fraction,
            "version": self._version,
            "pid": os.getpid(),
            "started_s": self._started_s,
            "now_s": time.time(),
        }

    def _totals(self) -> Json:
        value = self._metrics.value
        prompt, cached = int(value("tersely_prompt_tokens_total")), int(value("tersely_cached_tokens_total"))
        return {
            "requests": {name: int(value("tersely_requests_total", outcome=name)) for name in OUTCOMES},
            "in_flight": int(value("tersely_in_flight")),
            "prefix_hits": int(value("tersely_prefix_hits_total")),
            "prompt_tokens": prompt,
            "reused_tokens": cached,
            "read_tokens": prompt - cached,
            "generated_tokens": int(value("tersely_generated_tokens_total")),
            "accepted_tokens": round(value("tersely_accepted_tokens_total"), 2),
            "shown": int(value("tersely_shown_total")),
            "accepted": int(value("tersely_accepted_total")),
        }

    def _saved(self) -> Json:
        timeline = self._metrics.timeline
        return {
            "reading_s": timeline.saved_reading_s,
            "unwritten_tokens": timeline.unwritten_tokens,
            "writing_s": timeline.saved_writing_s,
        }

    def _memory(self) -> Json:
        return {"process_bytes": memory.resident_bytes(), **asdict(self._host.measures())}

    def _first_token(self) -> Json:
        timeline = self._metrics.timeline
        return {
            "upper_s": list(BUCKETS_S),
            "counts": self._metrics.first_token_counts(),
            "median_ms": timeline.first_token_ms(0.5),
            "p95_ms": timeline.first_token_ms(0.95),
        }
