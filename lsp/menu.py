"""`textDocument/completion`, for editors without inline completion: the suggestion as one item of the usual menu."""

from __future__ import annotations

import re

from lsprotocol import types

from completion.api import Suggestion, Trigger
from lsp.host import Answer, Query
from lsp.inline import command, fit, to_place, to_range

_WORD_BEFORE = re.compile(r"\w*\Z")
_LABEL_CHARACTERS = 60


def to_query(params: types.CompletionParams) -> Query:
    """The menu opens by itself while typing, so this asks as typing does: for one suggestion."""
    return Query(
        uri=params.text_document.uri, place=to_place(params.position), trigger=Trigger.AUTOMATIC, for_menu=True
    )


def to_items(answer: Answer) -> list[tuple[types.CompletionItem, Suggestion]]:
    """The menu's items, each with its suggestion. What breaks the protocol's rules is left out."""
    fitting = (fit(suggestion, answer) for suggestion in answer.suggestions)
    return [(_to_item(suggestion, answer), suggestion) for suggestion in fitting if suggestion is not None]


def _to_item(suggestion: Suggestion, answer: Answer) -> types.CompletionItem:
    """Menus filter by the word before the cursor, so the item takes that word in."""
    buffer = answer.document.buffer
    line_start, _ = buffer.index.span(buffer.index.line_at(suggestion.start), buffer.text)
    before = _WORD_BEFORE.search(buffer.text[line_start : suggestion.start])
    word = before.group() if before else ""
    start = suggestion.start - len(word)
    text = word + suggestion.text
    first, *rest = text.strip().splitlines() or [""]
    label = first if len(first) <= _LABEL_CHARACTERS else first[: _LABEL_CHARACTERS - 1] + "…"
    return types.CompletionItem(
        label=label + (" …" if rest else ""),
        kind=types.CompletionItemKind.Snippet,
        detail="tersely",
        documentation=text,
        filter_text=text,
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(to_range(buffer, start, suggestion.end), text),
        command=command(suggestion),
    )
