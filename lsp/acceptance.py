"""What became of the suggestions that an editor was given: remembers them by id, writes the acceptance log, tells."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from completion.acceptance import AcceptanceLog, AcceptanceRecord, Outcome
from completion.api import Suggestion
from lsp.positions import Encoding, units
from model.api import Feedback

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
    tokens_per_unit: float
    """Generated tokens for each UTF-16 unit of what was generated."""
    shown: bool = False
    accepted: bool = False
    accepted_length: int = 0


class Offers:
    """The last suggestions sent. Reports about any other id are passed over: editors may report late, or twice."""

    def __init__(self, tell: Callable[[Feedback], None] = lambda _: None) -> None:
        """`tell` hears the counts of what is written to the log, and nothing where there is none."""
        self._tell = tell
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
                tokens_per_unit=_tokens_per_unit(suggestion),
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
            self._write(Outcome.SHOWN, suggestion_id, offer, Feedback(shown=1))

    def partly_accepted(self, suggestion_id: str, accepted_length: int) -> None:
        """The user took the first `accepted_length` UTF-16 units of it (all in all, not since the last time)."""
        offer = self._offers.get(suggestion_id)
        if offer is not None and accepted_length > offer.accepted_length:
            taken = self._take(offer, min(accepted_length, offer.length))
            self._write(Outcome.PARTIAL, suggestion_id, offer, Feedback(accepted_tokens=taken))

    def accepted(self, suggestion_id: str) -> None:
        """The user took all of it."""
        offer = self._offers.get(suggestion_id)
        if offer is not None and not offer.accepted:
            offer.accepted = True
            taken = self._take(offer, offer.length)
            self._write(Outcome.ACCEPTED, suggestion_id, offer, Feedback(accepted=1, accepted_tokens=taken))

    def _take(self, offer: _Offer, length: int) -> float:
        """Note that the first `length` units are taken; how many tokens that is more than before."""
        more = max(0, length - offer.accepted_length)
        offer.accepted_length = length
        return more * offer.tokens_per_unit

    def _write(self, outcome: Outcome, suggestion_id: str, offer: _Offer, feedback: Feedback) -> None:
        if self._log is None:
            return
        self._tell(feedback)
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


def _tokens_per_unit(suggestion: Suggestion) -> float:
    """Only what was generated is known in tokens, so that what is shown of it counts by its length."""
    return suggestion.usage.completion_tokens / max(1, units(suggestion.explanation.raw, Encoding.UTF16))
