"""Server-sent events out of a byte stream, however it was cut. Source: WHATWG HTML, "Server-sent events"."""

from __future__ import annotations

import codecs
import re

_LINE_END = re.compile(r"\r\n|\r|\n")


class EventDecoder:
    """Feed it bytes as they come; it returns the data of each event that is complete."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""
        self._data: list[str] = []
        self._at_start = True

    def feed(self, chunk: bytes) -> list[str]:
        """The events that `chunk` completes."""
        text = self._rest + self._text.decode(chunk)
        if self._at_start and text:
            text, self._at_start = text.removeprefix("\ufeff"), False
        # A carriage return at the end may be half of a CR LF.
        held = "\r" if text.endswith("\r") else ""
        *lines, self._rest = _LINE_END.split(text[: len(text) - len(held)])
        self._rest += held
        return [event for line in lines for event in self._line(line)]

    def close(self) -> list[str]:
        """The last event, where the stream ended after a line end but without the empty line. Half lines are lost."""
        lines = [self._rest[:-1]] if self._rest.endswith("\r") else []
        events = [event for line in [*lines, ""] for event in self._line(line)]
        self._rest = ""
        return events

    def _line(self, line: str) -> list[str]:
        if not line:
            data, self._data = self._data, []
            return ["\n".join(data)] if data else []
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return []
