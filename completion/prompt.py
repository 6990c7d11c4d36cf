"""From a cursor to a prompt: which part of the file, in the format that the model was trained on.

Stable parts come first and the cursor last, so that each typed key only appends. Knows formats by family name
(`model.fim`), never by model name.
"""

from __future__ import annotations

from dataclasses import dataclass

from completion.api import ContextUse
from completion.settings import PromptBudget
from completion.window import Window, choose_window
from model import fim
from model.api import Segment


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """Segments for the engine, and an account of what went in."""

    segments: tuple[Segment, ...]
    uses: tuple[ContextUse, ...]

    @property
    def text(self) -> str:
        """The prompt as people read it."""
        return "".join(segment.text for segment in self.segments)


def build_prompt(*, text: str, offset: int, path: str, family: str, budget: PromptBudget) -> BuiltPrompt:
    """The prompt for a cursor at `offset` in `text`. Line ends become `\\n`: models were trained on these."""
    window = choose_window(text, offset, budget)
    prefix = _unix(text[window.start : window.offset])
    suffix = _unix(text[window.offset : window.end])
    segments = fim.render(family, prefix=prefix, suffix=suffix, path=path)
    return BuiltPrompt(segments, _account(text, path, window, suffix_used=family != fim.NONE))


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _account(text: str, path: str, window: Window, *, suffix_used: bool) -> tuple[ContextUse, ...]:
    first = text.count("\n", 0, window.start) + 1
    at = text.count("\n", 0, window.offset) + 1
    last = text.count("\n", 0, window.end) + 1
    before = ContextUse(
        source="prefix",
        path=path,
        first_line=first,
        last_line=at,
        characters=window.offset - window.start,
        reason="the file before the cursor" + ("" if window.start == 0 else ", as far back as the budget allows"),
    )
    if not suffix_used:
        return (before,)
    behind = ContextUse(
        source="suffix",
        path=path,
        first_line=at,
        last_line=last,
        characters=window.end - window.offset,
        reason="the file behind the cursor" + ("" if window.end == len(text) else ", as far as the budget allows"),
    )
    return before, behind
