"""What became of the suggestions that an editor was given: remembers them by id, and writes the acceptance log."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from completion.acceptance import AcceptanceLog, AcceptanceRecord, Outcome
from completion.api import Suggestion
from lsp.positions import Encoding, units

_REMEMBERED = 256


@dataclass(slots=True)
class _Offer:
    """A suggestion that was sent. Its text is not kept."""

    language_id: str
    model: str
    length: int
    lines: int
    confidence: float
    latency_ms: float
    sent_s: float
    shown: bool = False
    accepted: bool = False
    accepted_length: int = 0


class Offers:
    """The last suggestions sent. Reports about any other id are passed over: editors may report late, or twice."""

    def __init__(self) -> None:
        self._offers: OrderedDict[str, _Offer] = OrderedDict()
        self._log: AcceptanceLog | None = None

    def log_to(self, log: AcceptanceLog | None) -> None:
        """Write to `log` from now on; None writes nowhere."""
        if self._log is not None and self._log is not log:
            self._log.close()
        self._log = log

    @property
    def logging(self) -> bool:
        return self._log is not None

    def remember(self, suggestion: Suggestion, *, language_id: str) -> None:
        """Note a suggestion as it is sent. Sent again under its id (the user typed along), only its length changes."""
        length = units(suggestion.text, Encoding.UTF16)
        lines = suggestion.text.count("\n") + 1
        offer = self._offers.pop(suggestion.suggestion_id, None)
        if offer is None:
            offer = _Offer(
                language_id=language_id,
                model=suggestion.model,
                length=length,
                lines=lines,
                confidence=suggestion.confidence,
                latency_ms=suggestion.timings.total_ms,
                sent_s=time.monotonic(),
            )
        offer.length, offer.lines = length, lines
        self._offers[suggestion.suggestion_id] = offer
        while len(self._offers) > _REMEMBERED:
            self._offers.popitem(last=False)

    def shown(self, suggestion_id: str) -> None:
        """The editor shows it."""
        offer = self._offers.get(suggestion_id)
        if offer is not None and not offer.shown:
            offer.shown = True
            self._write(Outcome.SHOWN, suggestion_id, offer)

    def partly_accepted(self, suggestion_id: str, accepted_length: int) -> None:
        """The user took the first `accepted_length` UTF-16 units of it (all in all, not since the last time)."""
        offer = self._offers.get(suggestion_id)
        if offer is not None and accepted_length > offer.accepted_length:
            offer.accepted_length = min(accepted_length, offer.length)
            self._write(Outcome.PARTIAL, suggestion_id, offer)

    def accepted(self, suggestion_id: str) -> None:
        """The user took all of it."""
        offer = self._offers.get(suggestion_id)
        if offer is not None and not offer.accepted:
            offer.accepted = True
            offer.accepted_length = offer.length
            self._write(Outcome.ACCEPTED, suggestion_id, offer)

    def _write(self, outcome: Outcome, suggestion_id: str, offer: _Offer) -> None:
        if self._log is None:
            return
        self._log.write(
            AcceptanceRecord(
                outcome=outcome,
                suggestion_id=suggestion_id,
                language_id=offer.language_id,
                model=offer.model,
                length=offer.length,
                lines=offer.lines,
                accepted_length=offer.accepted_length,
                confidence=offer.confidence,
                latency_ms=round(offer.latency_ms, 1),
                age_ms=round((time.monotonic() - offer.sent_s) * 1000, 1),
            )
        )
