"""From a cursor to a prompt: which part of the file, in the format that the model was trained on.

Stable parts come first and the cursor last, so that each typed key only appends. Knows formats by family name
(`model.fim`), never by model name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from completion.api import ContextUse
from completion.burst import Bursts, Layout
from completion.settings import PromptBudget
from completion.window import Window
from model import fim
from model.api import Segment

if TYPE_CHECKING:
    from completion.context.retriever import Snippet


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """Segments for the engine, and an account of what went in."""

    segments: tuple[Segment, ...]
    uses: tuple[ContextUse, ...]
    lead: str = ""
    """Blanks before the cursor that the prompt leaves to the model: see `_healed`."""

    @property
    def text(self) -> str:
        """The prompt as people read it."""
        return "".join(segment.text for segment in self.segments)


def build_prompt(
    *, text: str, offset: int, path: str, family: str, budget: PromptBudget, snippets: Sequence[Snippet] = ()
) -> BuiltPrompt:
    """The prompt for a cursor at `offset` in `text`, on its own: the first of a burst of typing."""
    layout = Bursts().lay_out(path=path, text=text, offset=offset, budget=budget)
    return render_prompt(layout, text=text, path=path, family=family, snippets=snippets)


def render_prompt(
    layout: Layout, *, text: str, path: str, family: str, snippets: Sequence[Snippet] = ()
) -> BuiltPrompt:
    """The prompt for a layout of `text`. Line ends become `\\n`: models were trained on these.

    `snippets` of other files come first, in their order; a family that has no place for them goes without. Texts are
    cut before they meet control tokens, so no budget ever cuts one of those.
    """
    prefix, typed, suffix = map(_unix, (layout.prefix, layout.typed, layout.suffix))
    shown = snippets if takes_snippets(family) else ()
    others = [fim.Snippet(one.path, _unix(one.text)) for one in shown]
    row = fim.FORMATS.get(family)
    lead = ""
    if row is None:
        prefix, lead = _healed(prefix + typed)
        typed = ""
    elif row.middle is None:
        prefix, typed = prefix + typed, ""
    else:
        typed, lead = _healed(typed)
    segments = fim.render(family, prefix=prefix, suffix=suffix, path=path, snippets=others)
    if typed:
        segments = (*segments, Segment(typed))
    own = _account(text, path, layout.window, suffix_used=family != fim.NONE)
    return BuiltPrompt(segments, (*map(_use, shown), *own), lead)


def _healed(text: str) -> tuple[str, str]:
    """A text that the model goes on from as its own, without the blanks behind the last word of its last line, or the
    last blank of an indentation; and what was left out.

    Vocabularies put a blank at the beginning of the token that follows it. One that stands at a text's end is followed
    by what no blank precedes: a second one, a comment, or nothing (token healing).
    """
    bare = text.rstrip(" ")
    indents = not bare or bare.endswith(("\n", "\t"))
    end = max(len(bare), len(text) - 1) if indents else len(bare)
    return text[:end], text[end:]


def continued(segments: tuple[Segment, ...], text: str) -> tuple[Segment, ...]:
    """The prompt as it is once the model has said `text`."""
    if not text:
        return segments
    last = segments[-1]
    # A text that follows a text is tokenized with it: some vocabularies put a blank before a text of its own.
    return (*segments, Segment(text)) if last.special else (*segments[:-1], Segment(last.text + text))


def takes_snippets(family: str) -> bool:
    """Whether models of a family were trained to read pieces of other files."""
    return family in fim.FORMATS and fim.FORMATS[family].takes_files


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
