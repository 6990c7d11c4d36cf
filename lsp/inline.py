"""`textDocument/inlineCompletion`: the protocol's questions into queries, answers into its items."""

from __future__ import annotations

import logging

from lsprotocol import types

from completion.api import Suggestion, Trigger
from lsp.buffer import Buffer
from lsp.host import Answer, Query
from lsp.positions import Place

logger = logging.getLogger(__name__)

ACCEPTED = "tersely.accepted"
"""Command that runs after an item was inserted; its argument is the suggestion's id."""


def to_place(position: types.Position) -> Place:
    return Place(position.line, position.character)


def to_range(buffer: Buffer, start: int, end: int) -> types.Range:
    first, last = buffer.place(start), buffer.place(end)
    return types.Range(types.Position(*first), types.Position(*last))


def to_query(params: types.InlineCompletionParams) -> Query:
    context = params.context
    invoked = context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    selected = None
    if (info := context.selected_completion_info) is not None:
        selected = (to_place(info.range.start), to_place(info.range.end), info.text)
    return Query(
        uri=params.text_document.uri,
        place=to_place(params.position),
        trigger=Trigger.INVOKED if invoked else Trigger.AUTOMATIC,
        selected=selected,
    )


def to_items(answer: Answer) -> list[tuple[types.InlineCompletionItem, Suggestion]]:
    """The items that an editor will show, each with its suggestion. What breaks the protocol's rules is left out."""
    pairs = []
    for offered in answer.suggestions:
        suggestion = fit(offered, answer)
        if suggestion is None:
            logger.info("Suggestion %s does not fit the cursor, and is left out.", offered.suggestion_id)
            continue
        pairs.append((_to_item(suggestion, answer), suggestion))
    return pairs


def command(suggestion: Suggestion) -> types.Command:
    return types.Command(title="Accepted", command=ACCEPTED, arguments=[suggestion.suggestion_id])


def fit(suggestion: Suggestion, answer: Answer) -> Suggestion | None:
    """The suggestion as the protocol wants it: on the cursor's line, around the cursor, extending the selected item."""
    buffer = answer.document.buffer
    text = buffer.text
    if not suggestion.text or not suggestion.start <= answer.offset <= suggestion.end:
        return None
    if buffer.index.line_at(suggestion.start) != buffer.index.line_at(suggestion.end):
        return None
    if text[suggestion.start : suggestion.end] == suggestion.text:
        return None
    selected = answer.selected
    if selected is None:
        return suggestion
    same_range = (suggestion.start, suggestion.end) == (selected.start, selected.end)
    longer = suggestion.text.startswith(selected.text) and len(suggestion.text) > len(selected.text)
    return suggestion if same_range and longer else None


def _to_item(suggestion: Suggestion, answer: Answer) -> types.InlineCompletionItem:
    buffer = answer.document.buffer
    return types.InlineCompletionItem(
        insert_text=suggestion.text,
        filter_text=_filter_text(suggestion.text, buffer.text[suggestion.start : answer.offset]),
        range=to_range(buffer, suggestion.start, suggestion.end),
        command=command(suggestion),
    )


def _filter_text(text: str, typed: str) -> str:
    """Editors hide an item whose filter text does not begin with what stands before the cursor in its range."""
    return text if text.startswith(typed) else typed + text[len(typed) :]
