"""The looking tools: short answers in plain text, made for a small model. They never raise: what is missing is said."""

from __future__ import annotations

import re

from completion.context.redact import redact
from completion.language import detect
from completion.refactor.calls import Definition, Diagnostics, FindSymbol, LookingCall, Outline, References, Search
from completion.refactor.overlay import Overlay
from completion.refactor.symbols import Place, candidates, outline, resolve, split
from completion.refactor.tools.rename import find
from model.errors import RefusedError

MOST_LINES = 20
MOST_CHARACTERS = 2000
_LINE_CHARACTERS = 120
_READ_CHARACTERS = 2000
"""Of a line, when secrets are looked for: one may begin where it is cut off."""


def look(call: LookingCall, overlay: Overlay, *, prefer: str = "") -> str:
    """The answer, of at most `MOST_LINES` lines and `MOST_CHARACTERS` characters."""
    try:
        lines = _answer(call, overlay, prefer)
    except RefusedError as error:
        return f"{error.message} {error.hint}"[:MOST_CHARACTERS]
    # Answers go into a prompt, as other files' snippets do.
    first = redact("\n".join(line[:_READ_CHARACTERS] for line in lines[:MOST_LINES])).split("\n")
    return bounded([*first, *lines[MOST_LINES:]])


def bounded(lines: list[str]) -> str:
    """The first lines; how many more there are is said."""
    shown = [line[:_LINE_CHARACTERS] for line in lines[:MOST_LINES]]
    while len(shown) > 1 and sum(map(len, shown)) > MOST_CHARACTERS:
        shown.pop()
    if len(shown) < len(lines):
        shown.append(f"… {len(lines) - len(shown)} more")
    return "\n".join(shown)


def _answer(call: LookingCall, overlay: Overlay, prefer: str) -> list[str]:
    match call:
        case FindSymbol():
            path, dotted = split(call.symbol)
            found = candidates(overlay, dotted, path=path)
            return [_line(one) for one in found] or [f"There is no symbol {dotted}."]
        case References():
            return _references(call, overlay, prefer)
        case Definition():
            return _definition(resolve(overlay, call.symbol, prefer=prefer), overlay)
        case Outline():
            symbols = outline(overlay.read(call.path), call.path)
            return [_row(one.kind, one.name, one.parameters, one.first_line, one.last_line) for one in symbols] or [
                f"{call.path} has no symbols."
            ]
        case Search():
            return _search(call, overlay)
        case Diagnostics():
            return _diagnostics(call, overlay)


def _references(call: References, overlay: Overlay, prefer: str) -> list[str]:
    place, _ = find(overlay, call.symbol, prefer=prefer)
    path = place.symbol.path
    if path.endswith(".py"):
        from completion.refactor.tools.occurrences import occurrences

        spots = occurrences(overlay, place)
        return [
            _place(file, line, overlay.read(file).split("\n")[line - 1])
            for file in sorted(spots)
            for line in sorted({spot[0] for spot in spots[file]})
        ] or ["It is used nowhere."]
    name = overlay.read(path)[place.start : place.end]
    return _lines_with(re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), overlay, "", language=detect(path=path).id)


def _definition(place: Place, overlay: Overlay) -> list[str]:
    lines = overlay.read(place.symbol.path).split("\n")
    first, last = place.symbol.first_line, place.symbol.last_line
    return [f"{place.symbol.path}:{first}-{last}", *lines[first - 1 : last]]


def _search(call: Search, overlay: Overlay) -> list[str]:
    under = call.path if isinstance(call.path, str) else ""
    found = _lines_with(re.compile(re.escape(call.text)), overlay, under)
    return found or [f"No line has {call.text!r}."]


def _lines_with(wanted: re.Pattern[str], overlay: Overlay, under: str, *, language: str | None = None) -> list[str]:
    found = []
    for path in overlay.paths(under=under, language=language):
        try:
            text = overlay.read(path)
        except RefusedError:
            continue
        if wanted.search(text):
            lines = enumerate(text.split("\n"), 1)
            found += [_place(path, number, line) for number, line in lines if wanted.search(line)]
        if len(found) > 10 * MOST_LINES:
            break
    return found


def _diagnostics(call: Diagnostics, overlay: Overlay) -> list[str]:
    from completion.refactor.verify import problems

    found = problems(overlay.read(call.path), call.path)
    return [f"{call.path}:{one.line}: {one.message}" for one in found] or ["No problems."]


def _line(place: Place) -> str:
    one = place.symbol
    return _row(one.kind, f"{one.path}::{one.name}", one.parameters, one.first_line, one.last_line)


def _row(kind: str, name: str, parameters: tuple[str, ...], first: int, last: int) -> str:
    shown = f"({', '.join(parameters)})" if kind in ("function", "method") else ""
    return f"{kind} {name}{shown} lines {first}-{last}"


def _place(path: str, line: int, text: str) -> str:
    return f"{path}:{line}: {text.strip()}"
