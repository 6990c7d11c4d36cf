"""The seam to whoever else can rename: the editor's own language server. Its edits are carried over into the overlay.

The editor knows its own texts: it is asked only while the overlay has no other changes, and what does not fit the
overlay's texts is not used. Columns are counted in units of an encoding, as the Language Server Protocol has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from completion.refactor.overlay import Overlay
from completion.refactor.symbols import Place
from model.errors import RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A name to be changed: where it stands, `before` being the text before it in its line. Lines count from 0."""

    path: str
    line: int
    before: str
    new_name: str


Renamer = Callable[[Question], Mapping[str, Any] | None]
"""Answers with `encoding` (utf-8, utf-16 or utf-32) and `edits`: `path` ("" for a file outside of the root), `start`
and `end` as [line, column], and `text`. None where nobody can rename there. May block."""


def by_editor(renamer: Renamer | None, overlay: Overlay, place: Place, new_name: str) -> bool:
    """Have the editor's language server rename a symbol; whether it did. Otherwise the overlay is as it was.

    Raises `RefusedError` where its edits reach out of the root, or into a file that must not be changed.
    """
    if renamer is None or overlay.changes():
        return False
    path, text = place.symbol.path, overlay.read(place.symbol.path)
    start_of_line = text.rfind("\n", 0, place.start) + 1
    question = Question(
        path=path,
        line=text.count("\n", 0, place.start),
        before=text[start_of_line : place.start],
        new_name=new_name,
    )
    answer = renamer(question)
    spans = None if answer is None else _spans(answer, overlay, old=text[place.start : place.end])
    if not spans or not any(start <= place.start < end for start, end, _ in spans.get(path, ())):
        return False
    for changed, edits in spans.items():
        overlay.write(changed, _edited(overlay.read(changed), edits))
    return True


_Span = tuple[int, int, str]


def _spans(answer: Mapping[str, Any], overlay: Overlay, *, old: str) -> dict[str, list[_Span]] | None:
    """The edits as offsets, by path; None where they are not of these texts: each replaces something with the name."""
    found: dict[str, list[_Span]] = {}
    encoding = str(answer["encoding"])
    for edit in answer["edits"]:
        path = str(edit["path"])
        if not path:
            raise RefusedError(
                "The editor's language server would rename outside of the workspace, too.", hint="Rename it there."
            )
        text = overlay.read(path)
        start, end = (_offset(text, int(line), int(column), encoding) for line, column in (edit["start"], edit["end"]))
        if start > end or (start < end and old not in text[start:end]):
            return None
        found.setdefault(path, []).append((start, end, str(edit["text"])))
    return found


def _edited(text: str, edits: list[_Span]) -> str:
    """The text with edits made, the last first; what is inserted at one place keeps its order."""
    for start, end, new in sorted(edits, key=lambda one: one[0])[::-1]:
        text = text[:start] + new + text[end:]
    return text


def _offset(text: str, line: int, column: int, encoding: str) -> int:
    """The code point at a place; the line's end for a column past it, the text's end for a line past that."""
    lines = text.split("\n")
    if line >= len(lines):
        return len(text)
    row = lines[line]
    if encoding != "utf-32":
        width, name = (1, "utf-8") if encoding == "utf-8" else (2, "utf-16-le")
        column = len(row.encode(name, "surrogatepass")[: width * column].decode(name, "ignore"))
    return sum(len(one) + 1 for one in lines[:line]) + min(column, len(row))
