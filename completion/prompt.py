"""From a cursor to a prompt: which part of the file, in the format that the model was trained on.

Stable parts come first and the cursor last, so that each typed key only appends. Knows formats by family name
(`model.fim`), never by model name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from completion.api import ContextUse
from completion.settings import PromptBudget
from completion.window import Window, choose_window
from model import fim
from model.api import Segment

if TYPE_CHECKING:
    from completion.context.retriever import Snippet


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """Segments for the engine, and an account of what went in."""

    segments: tuple[Segment, ...]
    uses: tuple[ContextUse, ...]

    @property
    def text(self) -> str:
        """The prompt as people read it."""
        return "".join(segment.text for segment in self.segments)


def build_prompt(
    *, text: str, offset: int, path: str, family: str, budget: PromptBudget, snippets: Sequence[Snippet] = ()
) -> BuiltPrompt:
    """The prompt for a cursor at `offset` in `text`. Line ends become `\\n`: models were trained on these.

    `snippets` of other files come first, in their order; a family that has no place for them goes without.
    """
    window = choose_window(text, offset, budget)
    prefix = _unix(text[window.start : window.offset])
    suffix = _unix(text[window.offset : window.end])
    shown = snippets if takes_snippets(family) else ()
    others = [fim.Snippet(one.path, _unix(one.text)) for one in shown]
    segments = fim.render(family, prefix=prefix, suffix=suffix, path=path, snippets=others)
    own = _account(text, path, window, suffix_used=family != fim.NONE)
    return BuiltPrompt(segments, (*map(_use, shown), *own))


def takes_snippets(family: str) -> bool:
    """Whether models of a family were trained to read pieces of other files."""
    return family in fim.FORMATS and fim.FORMATS[family].file_separator is not None


def _use(snippet: Snippet) -> ContextUse:
    return ContextUse(
        source=snippet.source,
        path=snippet.path,
        first_line=snippet.first_line,
        last_line=snippet.last_line,
        characters=len(snippet.text),
        reason=snippet.reason,
    )


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
