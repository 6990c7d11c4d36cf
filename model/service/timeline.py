"""The last generations, one entry of numbers each, and what the prefix cache and early ends saved. No text enters."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

KEPT_ENTRIES = 240
BULK_TOKENS = 32
"""Prompts of which at least so many tokens were read tell how fast the model reads; few tokens cost more each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One generation that has ended. Times in milliseconds; `first_token_ms` and `total_ms` count from the request."""

    number: int
    """Counts from 1 since the engine started."""
    ended_s: float
    """Seconds since 1970."""
    outcome: str
    """"ok", "cancelled" (its reader closed it) or "error"."""
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    first_token_ms: float | None = None
    total_ms: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    limit_tokens: int | None = None
    memory_bytes: int = 0

    @property
    def read_tokens(self) -> int:
        """Prompt tokens that the model read."""
        return max(0, self.prompt_tokens - self.cached_tokens)

    @property
    def unwritten_tokens(self) -> int:
        """Tokens that were allowed and not written, since the reader closed a generation that had begun."""
        if self.outcome != "cancelled" or self.limit_tokens is None or not self.generated_tokens:
            return 0
        return max(0, self.limit_tokens - self.generated_tokens)


class Timeline:
    """The last entries, and sums over all that ever came."""

    def __init__(self, *, kept: int = KEPT_ENTRIES) -> None:
        self._entries: deque[Entry] = deque(maxlen=kept)
        self.latest = 0
        """Number of the newest entry; 0 before there is one."""
        self._reused_tokens = 0
        self._unwritten_tokens = 0
        self._bulk_tokens = 0
        self._bulk_ms = 0.0
        self._written_tokens = 0
        self._written_ms = 0.0

    def add(self, entry: Entry) -> None:
        """Append the entry that has number `latest + 1`."""
        self._entries.append(entry)
        self.latest = entry.number
        self._reused_tokens += entry.cached_tokens
        self._unwritten_tokens += entry.unwritten_tokens
        self._written_tokens += entry.generated_tokens
        self._written_ms += entry.decode_ms
        if entry.read_tokens >= BULK_TOKENS:
            self._bulk_tokens += entry.read_tokens
            self._bulk_ms += entry.prefill_ms

    def after(self, number: int) -> list[Entry]:
        """The kept entries with higher numbers, oldest first."""
        return [entry for entry in self._entries if entry.number > number]

    def first_token_ms(self, share: float) -> float | None:
        """The time to the first token that `share` (0 … 1) of the kept generations needed at most; None without any."""
        times = sorted(entry.first_token_ms for entry in self._entries if entry.first_token_ms is not None)
        return times[max(0, math.ceil(share * len(times)) - 1)] if times else None

    @property
    def unwritten_tokens(self) -> int:
        """Upper bound of what was not written because readers had enough: the models might have ended by themselves."""
        return self._unwritten_tokens

    @property
    def saved_reading_s(self) -> float | None:
        """Seconds that reading the reused tokens would have taken, at the measured speed; None while none is known."""
        return self._reused_tokens * self._bulk_ms / self._bulk_tokens / 1000 if self._bulk_ms else None

    @property
    def saved_writing_s(self) -> float | None:
        """Seconds that `unwritten_tokens` would have taken, at the measured speed; None while none is known."""
        if not self._written_ms or not self._written_tokens:
            return None
        return self._unwritten_tokens * self._written_ms / self._written_tokens / 1000
