"""Finds calls of tools in an answer as it comes: text passes on, calls come out as soon as each is complete."""

from __future__ import annotations

import re
from collections.abc import Sequence

from model.chat import Tool, ToolCall
from model.tool_formats import ToolFormat


class CallReader:
    """The reader of one answer. What begins like a call but turns out to be none is text after all."""

    def __init__(self, form: ToolFormat, tools: Sequence[Tool]) -> None:
        self._form = form
        self._tools = tuple(tools)
        self._held = ""
        self._calling = False
        self._called = False
        self._began = False

    def feed(self, text: str) -> tuple[str, tuple[ToolCall, ...]]:
        """Text that can be passed on, and calls that are now complete."""
        self._held += text
        passed = "" if self._calling else self._text()
        if not self._calling:
            return passed, ()
        calls, self._held = self._form.take(self._held, self._tools)
        self._called = self._called or bool(calls)
        return passed, calls

    def finish(self) -> str:
        """The answer has ended: text that was held back, and is no call. What stands behind calls is dropped."""
        rest, self._held = self._held, ""
        if self._called:
            return ""
        return re.sub(self._form.noise, "", rest)

    def _text(self) -> str:
        """What stands before the marker; all that may yet become one is held back."""
        marker = self._form.marker
        if not marker:
            return self._until_brace()
        at = self._held.find(marker)
        if at < 0:
            keep = next((size for size in range(len(marker) - 1, 0, -1) if self._held.endswith(marker[:size])), 0)
            at = len(self._held) - keep
        else:
            self._calling = True
        passed, self._held = self._held[:at], self._held[at:]
        return passed

    def _until_brace(self) -> str:
        """Where calls have no marker, an answer that begins with a brace is made of them."""
        start = self._held.lstrip() if not self._began else "text"
        if not start:
            return ""
        if start.startswith(("{", "<|python_tag|>")) or (start.startswith("<") and "<|python_tag|>".startswith(start)):
            self._calling = True
            return ""
        self._began = True
        passed, self._held = self._held, ""
        return passed
