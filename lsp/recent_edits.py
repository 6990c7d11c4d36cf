"""What the user has lately edited by hand, place by place: two edits alike may make a third.

Changes that touch the lines of the one before them belong to it. Only single changes count: several at once are made by
a command, and end what was remembered. Whether a rule is behind two edits is found out elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from lsp.documents import Document

_KEPT = 2
_TOKEN = re.compile(r"\w+|[^\w\s]")
_END_OF_LINE = re.compile(r"\r\n|\n|\r")


@dataclass(slots=True)
class RecentEdit:
    """One place that was edited. Lines count from 0: `first` to `last` as they are after, `grown` is how many came."""

    document: Document
    before: str
    after: str
    first: int
    last: int
    grown: int
    _counted: tuple[str, tuple[Counter[str], Counter[str]]] | None = None

    def tokens(self) -> tuple[Counter[str], Counter[str]]:
        """What came, and what went, in its lines."""
        # Editors ask for actions at each move of the cursor.
        if self._counted is None or self._counted[0] is not self.after:
            old, new = (Counter(_TOKEN.findall(text)) for text in self._lines())
            self._counted = self.after, (new - old, old - new)
        return self._counted[1]

    def _lines(self) -> tuple[str, str]:
        before, after = (_END_OF_LINE.split(text) for text in (self.before, self.after))
        return (
            "\n".join(before[self.first : self.last - self.grown + 1]),
            "\n".join(after[self.first : self.last + 1]),
        )


class RecentEdits:
    """The last places, in their order."""

    def __init__(self) -> None:
        self._edits: list[RecentEdit] = []

    def changed(self, document: Document, *, before: str, first: int, last: int, text: str) -> None:
        """Note one change: `text` came into lines `first` to `last` of what was `before`."""
        came = len(_END_OF_LINE.findall(text))
        grown = came - (last - first)
        now = self._edits[-1] if self._edits else None
        if now is not None and now.document is document and now.first <= first and last <= now.last:
            now.after, now.last, now.grown = document.buffer.text, now.last + grown, now.grown + grown
            return
        self._edits = [one for one in self._edits if one.before != one.after][1 - _KEPT :]
        self._edits.append(RecentEdit(document, before, document.buffer.text, first, first + came, grown))

    def forget(self) -> None:
        """What comes next is not of the same hand."""
        self._edits.clear()

    def alike(self, document: Document) -> list[RecentEdit]:
        """The last two edits in a document's workspace and language, where the same came and went; else nothing."""
        if len(self._edits) < _KEPT or any(
            one.document.root != document.root or one.document.language_id != document.language_id
            for one in self._edits
        ):
            return []
        first, second = (one.tokens() for one in self._edits)
        return list(self._edits) if first == second and any(first) else []
