"""Suggestions that still hold: what the user types along one is answered without the engine."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from completion.api import CompletionRequest, Suggestion

_KEPT_PER_DOCUMENT = 8
_KEPT_DOCUMENTS = 64


@dataclass(frozen=True, slots=True)
class _Entry:
    text: str
    offset: int
    suggestion: Suggestion


class PendingSuggestions:
    """The last few suggestions of each document, with the text that each was made for."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, list[_Entry]] = OrderedDict()

    def remember(self, request: CompletionRequest, suggestion: Suggestion) -> None:
        """Keep a suggestion that inserts at the cursor."""
        if not suggestion.text or suggestion.start != request.offset or suggestion.end != request.offset:
            return
        kept = self._entries.pop(request.path, [])
        kept.append(_Entry(request.text, request.offset, suggestion))
        self._entries[request.path] = kept[-_KEPT_PER_DOCUMENT:]
        while len(self._entries) > _KEPT_DOCUMENTS:
            self._entries.popitem(last=False)

    def advance(self, request: CompletionRequest) -> Suggestion | None:
        """What is left of a remembered suggestion after the user typed along it (or went back), newest first."""
        for entry in reversed(self._entries.get(request.path, ())):
            typed = request.offset - entry.offset
            suggestion = entry.suggestion
            if not 0 <= typed < len(suggestion.text) or len(request.text) != len(entry.text) + typed:
                continue
            ahead = suggestion.text[:typed]
            if request.text[entry.offset : request.offset] != ahead:
                continue
            if request.text[: entry.offset] != entry.text[: entry.offset]:
                continue
            if request.text[request.offset :] != entry.text[entry.offset :]:
                continue
            return replace(suggestion, text=suggestion.text[typed:], start=request.offset, end=request.offset)
        return None

    def forget(self, path: str) -> None:
        """Drop a document's suggestions."""
        self._entries.pop(path, None)
