"""Take the code out of an answer that a chatting model wrapped in a fence, as it streams. Knows no models."""

from __future__ import annotations

import re

_WRAPPED = re.compile(r"\s*```[^\n]*\n(?P<code>.*?)(?:\n?```.*)?\Z", re.DOTALL)


def strip_fences(text: str) -> str:
    """The slow reference: what is inside the first fence, where the answer begins with one; else the answer.

    An opening line without an end yet is nothing; a fence that never closes ends with the answer.
    """
    if text.lstrip()[:3] != "```"[: len(text.lstrip()[:3])] or not text.lstrip():
        return text
    match = _WRAPPED.match(text)
    if match is not None:
        return match["code"]
    return "" if text.lstrip().startswith("```") else text


class FenceStripper:
    """`strip_fences` for text that comes in pieces; text that may yet turn out to be a fence is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._fenced: bool | None = None
        self.ended = False
        """The fence has closed: nothing more will come."""

    def feed(self, text: str) -> str:
        """What can go out now."""
        if self.ended:
            return ""
        self._held += text
        if self._fenced is None:
            self._decide()
        if self._fenced is None:
            return ""
        return self._take_code() if self._fenced else self._take(len(self._held))

    def close(self) -> str:
        """What is left at the end of the answer."""
        if self.ended or (self._fenced is None and self._held.lstrip().startswith("```")):
            return ""
        return self._take(len(self._held))

    def _decide(self) -> None:
        start = self._held.lstrip()
        if start and not start.startswith("```"[: len(start)]):
            self._fenced = False
        elif start.startswith("```") and "\n" in start:
            self._fenced = True
            self._held = start.partition("\n")[2]

    def _take_code(self) -> str:
        end = self._held.find("```")
        if end >= 0:
            self.ended = True
            return self._take(end).removesuffix("\n")
        # A line end and backticks may be the beginning of the fence's end.
        kept = re.search(r"\n?`{0,2}\Z", self._held)
        return self._take(len(self._held) if kept is None else kept.start())

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken
