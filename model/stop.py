"""Stop strings: the text before the first of them goes out, and no part of one ever does."""

from __future__ import annotations


class StopGuard:
    """Passes text on as it comes, holding back what may yet become a stop string.

    The stop that completes first ends the text; of those that complete at the same place, the longest. So the result
    does not depend on how the text was cut into pieces.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """Text that can go out now. Once `stopped` is true nothing more does."""
        if self.stopped:
            return ""
        self._held += text
        ends = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.stopped = True
            _, start = min(ends)
            passed, self._held = self._held[:start], ""
            return passed
        keep = self._possible_start()
        cut = len(self._held) - keep
        passed, self._held = self._held[:cut], self._held[cut:]
        return passed

    def finish(self) -> str:
        """What was held back, when the text ended without a stop."""
        passed, self._held = self._held, ""
        return passed

    def _possible_start(self) -> int:
        """Length of the longest end of the held text that begins a stop."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0
