"""What the local acceptance log says of a model's confidence: how much more or less is accepted than was expected.

Read once, on a thread of its own, a little after the first question. Knows no texts: the log holds none.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from completion.acceptance import Outcome, acceptance_file
from completion.confidence import log_odds

logger = logging.getLogger(__name__)

_PRIOR = 40.0
"""So many suggestions, accepted exactly as expected, are assumed to have been shown before the log began."""
_LARGEST_SHIFT = 1.5
_LONGEST_BYTES = 4_000_000


class History:
    """Shifts for each model, zero until the log was read."""

    def __init__(self, file: Path | None = None) -> None:
        """`file`: the log; None: the user's own."""
        self._file = file
        self._shifts: Mapping[str, float] = {}
        self._thread: threading.Thread | None = None

    def shift(self, model: str) -> float:
        """What to add to the log-odds of a suggestion of this model's."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="acceptance-history", daemon=True)
            self._thread.start()
        return self._shifts.get(model, 0.0)

    def wait(self) -> None:
        """Until the log has been read, if reading has begun."""
        if self._thread is not None:
            self._thread.join()

    def _read(self) -> None:
        file = self._file or acceptance_file()
        try:
            lines = file.read_bytes()[-_LONGEST_BYTES:].decode("utf-8", "replace").splitlines() if file.exists() else []
        except OSError as error:
            logger.info("The acceptance log cannot be read: %s", error)
            return
        self._shifts = shifts(lines)


def shifts(lines: Iterable[str]) -> dict[str, float]:
    """For each model, the log-odds by which what was accepted differs from what was expected.

    Partly accepted suggestions count by the share that was taken. Lines that are no records are passed over.
    """
    expected: dict[tuple[str, str], float] = {}
    taken: dict[tuple[str, str], float] = defaultdict(float)
    for line in lines:
        try:
            record = json.loads(line)
            key = (str(record["model"]), str(record["suggestion_id"]))
            outcome, sure = Outcome(record["outcome"]), float(record["confidence"])
            share = min(1.0, record["accepted_length"] / max(1, record["length"]))
        except (ValueError, KeyError, TypeError):
            continue
        expected[key] = sure
        if outcome is not Outcome.SHOWN:
            taken[key] = max(taken[key], share)
    found: dict[str, float] = {}
    for model in {key[0] for key in expected}:
        own = [key for key in expected if key[0] == model]
        mean = min(0.99, max(0.01, sum(expected[key] for key in own) / len(own)))
        share = (sum(taken[key] for key in own) + _PRIOR * mean) / (len(own) + _PRIOR)
        shift = log_odds(min(0.99, max(0.01, share))) - log_odds(mean)
        found[model] = max(-_LARGEST_SHIFT, min(_LARGEST_SHIFT, shift))
    return found
