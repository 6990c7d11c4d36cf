"""One window for a burst of typing: what the prompt shows of the file stays put while the user types at one place.

The prefix cache pays only while a prompt begins as the one before it. Within a burst the windows before and behind the
cursor are frozen, and what is typed goes to the prompt's end: at the end of the prefix, or, where a format has a token
that asks for the middle, behind that token, as the beginning of the middle. Brackets and quotes that an editor puts
behind the cursor by itself do not end a burst, and are not shown: the model closes what it opens.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from completion.settings import PromptBudget
from completion.window import Window, choose_window

LONGEST_BURST_CHARACTERS = 240
_KEPT_DOCUMENTS = 64
MOST_CLOSERS = 3
CLOSERS_BY_EDITORS = frozenset(")]}>\"'`")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a prompt shows: `typed` was typed since the burst began, and belongs between `prefix` and `suffix`."""

    window: Window
    prefix: str
    typed: str
    suffix: str
    begins: bool
    """Is this the first prompt of a burst?"""


@dataclass(frozen=True, slots=True)
class _Burst:
    start: int
    anchor: int
    """Where the cursor's line began when the burst did."""
    prefix: str
    suffix: str
    to_the_end: bool
    """Did the suffix window reach the end of the file?"""


class Bursts:
    """The burst of each document."""

    def __init__(self) -> None:
        self._bursts: OrderedDict[str, _Burst] = OrderedDict()

    def lay_out(
        self,
        *,
        path: str,
        text: str,
        offset: int,
        budget: PromptBudget,
        remember: bool = True,
        anew: bool = False,
    ) -> Layout:
        """The window for a cursor: that of the burst it goes on with, or (or if `anew`) one of the size of `budget`.

        A burst keeps its size, since a change of it costs more than it is worth. Without `remember` the burst stays
        as it is, for a cursor that is only supposed.
        """
        burst = self._bursts.get(path)
        begins = burst is None or anew or not _goes_on(burst, text, offset)
        if begins:
            burst = _begin(text, offset, budget)
        assert burst is not None
        if remember:
            self._bursts[path] = burst
            self._bursts.move_to_end(path)
        while len(self._bursts) > _KEPT_DOCUMENTS:
            self._bursts.popitem(last=False)
        return Layout(
            window=Window(burst.start, offset, min(len(text), offset + len(burst.suffix))),
            prefix=burst.prefix,
            typed=text[burst.anchor : offset],
            suffix=burst.suffix,
            begins=begins,
        )

    def forget(self, path: str) -> None:
        """Drop a document's burst."""
        self._bursts.pop(path, None)


def _begin(text: str, offset: int, budget: PromptBudget) -> _Burst:
    window = choose_window(text, offset, budget)
    anchor = max(window.start, text.rfind("\n", 0, offset) + 1)
    if offset - anchor > LONGEST_BURST_CHARACTERS // 2:
        anchor = offset  # a long line: leave room for what will be typed
    return _Burst(
        start=window.start,
        anchor=anchor,
        prefix=text[window.start : anchor],
        suffix=text[offset : window.end],
        to_the_end=window.end == len(text),
    )


def _goes_on(burst: _Burst, text: str, offset: int) -> bool:
    if not 0 <= offset - burst.anchor <= LONGEST_BURST_CHARACTERS:
        return False
    if text[burst.start : burst.anchor] != burst.prefix:
        return False
    for count in range(MOST_CLOSERS + 1):
        if count and (offset + count > len(text) or text[offset + count - 1] not in CLOSERS_BY_EDITORS):
            return False
        rest = offset + count
        if text.startswith(burst.suffix, rest) and (not burst.to_the_end or len(text) == rest + len(burst.suffix)):
            return True
    return False
