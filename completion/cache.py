"""Suggestions that still hold: what the user types along one, and comes back to, is answered without the engine.

The key is a hash of what the model was shown of the file: the text before and behind the cursor, as far as a prompt's
window reaches. So an edit far away does not cost a suggestion, and a suggestion moves with its lines. Where nothing
was worth saying, that is remembered too. What was too unsure to be shown may be shown later: each typed character that
it foretold speaks for the rest. Where an editor closes a typed bracket by itself, the suggestion holds up to there, and
goes on behind it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b

from completion.api import CompletionRequest, Suggestion
from completion.burst import CLOSERS_BY_EDITORS, MOST_CLOSERS
from completion.language import detect
from completion.pairs import before_doubled
from completion.stopping import survey

_KEPT_PER_DOCUMENT = 32
_KEPT_DOCUMENTS = 64
_BEFORE_CHARACTERS = 2000
_BEHIND_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class _Entry:
    before: bytes
    behind: bytes
    suggestion: Suggestion


class SuggestionCache:
    """The last few suggestions of each document, by the text around the cursor that each was made for."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, list[_Entry]] = OrderedDict()

    def remember(self, request: CompletionRequest, suggestion: Suggestion) -> None:
        """Keep a suggestion that inserts at the cursor, or that nothing is to be inserted there."""
        if not suggestion.start == suggestion.end == request.offset:
            return
        entry = _Entry(_before(request.text, request.offset), _behind(request.text, request.offset), suggestion)
        kept = self._entries.pop(request.path, [])
        kept = [one for one in kept if (one.before, one.behind) != (entry.before, entry.behind)]
        self._entries[request.path] = [*kept, entry][-_KEPT_PER_DOCUMENT:]
        while len(self._entries) > _KEPT_DOCUMENTS:
            self._entries.popitem(last=False)

    def advance(self, request: CompletionRequest) -> Suggestion | None:
        """What is left of a remembered suggestion after the user typed along it (or went back), newest first."""
        entries = self._entries.get(request.path)
        if not entries:
            return None
        text, offset = request.text, request.offset
        closed = 0
        while closed < MOST_CLOSERS and text[offset + closed : offset + closed + 1] in CLOSERS_BY_EDITORS:
            closed += 1
        behind = [_behind(text, offset + count) for count in range(closed + 1)]
        hashes: dict[int, bytes] = {}
        for entry in reversed(entries):
            if entry.behind not in behind:
                continue
            closers = behind.index(entry.behind)
            said = entry.suggestion.text
            for typed in range(min(len(said), offset + 1)) if said else (0,):
                if typed and not text.startswith(said[:typed], offset - typed):
                    continue
                if typed not in hashes:
                    hashes[typed] = _before(text, offset - typed)
                if hashes[typed] != entry.before:
                    continue
                left = said[typed:] if not closers else _up_to_closers(said[typed:], request) if typed else None
                if left is not None:
                    left = left if left.strip() else ""
                    sure = _confidence(entry.suggestion, typed, request) if left else 0.0
                    return replace(entry.suggestion, text=left, start=offset, end=offset, confidence=sure)
        return None

    def forget(self, path: str) -> None:
        """Drop a document's suggestions."""
        self._entries.pop(path, None)

    def clear(self) -> None:
        """Drop all, since they would be others now."""
        self._entries.clear()


def _up_to_closers(text: str, request: CompletionRequest) -> str | None:
    """What of a text stands before the closers behind the cursor, which it says too; None: it does not."""
    language = detect(language_id=request.language_id, path=request.path, text=request.text)
    length = before_doubled(text, survey(request.text, request.offset), language.line_comment)
    return None if length is None else text[:length]


def _confidence(suggestion: Suggestion, typed: int, request: CompletionRequest) -> float:
    """How sure a suggestion is once some of it was typed: never less than before, lest it vanish while it holds.

    That a word ends where the model ended it is not proven by its characters, unless the file has such a word.
    """
    said = suggestion.text
    open_word = typed > 0 and _is_word(said[typed - 1]) and not _is_word(said[typed]) and _is_new_word(request)
    proven = typed - open_word
    return max(suggestion.confidence, *(sure for length, sure in suggestion.later if length <= proven), 0.0)


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _is_new_word(request: CompletionRequest) -> bool:
    """Does the word before the cursor stand nowhere else in the file?"""
    start = request.offset
    while start > 0 and _is_word(request.text[start - 1]):
        start -= 1
    word = re.escape(request.text[start : request.offset])
    return len(re.findall(rf"(?<!\w){word}(?!\w)", request.text)) < 2


def _before(text: str, offset: int) -> bytes:
    """A hash of what stands before an offset."""
    return _digest(text[max(0, offset - _BEFORE_CHARACTERS) : offset])


def _behind(text: str, offset: int) -> bytes:
    return _digest(text[offset : offset + _BEHIND_CHARACTERS])


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
