"""A text that an editor edits: exact to the character, with the editor's version. Knows neither files nor requests."""

from __future__ import annotations

from lsp.positions import Encoding, LineIndex, Place


class Buffer:
    """The text of one open document. `revision` grows with each change, whatever versions the editor sends."""

    def __init__(self, text: str, *, version: int = 0, encoding: Encoding = Encoding.UTF16) -> None:
        self._text = text
        self._encoding = encoding
        self._index: LineIndex | None = None
        self.version = version
        self.revision = 0

    @property
    def text(self) -> str:
        return self._text

    @property
    def index(self) -> LineIndex:
        """Built when first asked for: many documents are opened and never edited."""
        if self._index is None:
            self._index = LineIndex.of(self._text)
        return self._index

    def replace_all(self, text: str) -> None:
        """What a change without a range does."""
        self._text = text
        self._index = None
        self.revision += 1

    def replace(self, start: Place, end: Place, text: str) -> None:
        """Put `text` between two places; if they come in the wrong order, they are swapped, as other servers do."""
        first, last = sorted((self.offset(start), self.offset(end)))
        index = self.index
        self._text = f"{self._text[:first]}{text}{self._text[last:]}"
        self._index = index.edited(self._text, start=first, end=last, inserted=len(text))
        self.revision += 1

    def offset(self, place: Place) -> int:
        return self.index.offset(place, self._text, self._encoding)

    def place(self, offset: int) -> Place:
        return self.index.place(offset, self._text, self._encoding)
