"""How long to wait for a hosted model, and when to ask again. Pure reckoning: no clock but the one it is given."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may do: nothing was generated yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, and how often a request is sent. `longest_wait_s` is the longest that a server may make us wait."""

    connect_s: float = 5.0
    first_byte_s: float = 30.0
    """From sending the request to the beginning of the answer."""
    between_s: float = 20.0
    """From one piece of the answer to the next."""
    total_s: float = 120.0
    tries: int = 3
    first_delay_s: float = 0.5
    longest_wait_s: float = 10.0


def retry_after_s(header: str | None, *, now: datetime | None = None) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3); None where it says nothing readable."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None  # a NaN differs from itself


def delay_s(
    limits: Limits, attempt: int, asked_s: float | None, *, chance: Callable[[], float] = random.random
) -> float:
    """How long to wait after the failure number `attempt` (from 0): what was asked, else doubling, with jitter.

    The jitter takes up to half away, so that many clients do not come back at once.
    """
    if asked_s is not None:
        return asked_s
    return limits.first_delay_s * 2.0**attempt * (1.0 - chance() / 2)
