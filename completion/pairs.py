"""Brackets and quotes that stand closed behind the cursor, as editors put them there: where a text closes them again.

A model that was not shown them closes what it opens, and goes on: `value);` where `)` is there already. What it says
up to there is right; the rest would double the bracket. Works on one line; knows no syntax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from completion.brackets import CLOSERS, OPENERS, code_brackets, string_start, unopened

if TYPE_CHECKING:
    from completion.stopping import Site

_QUOTES = ('"""', "'''", '"', "'", "`")


def before_doubled(text: str, site: Site, line_comment: str | None = None) -> int | None:
    """Where `text` begins to close what is closed behind the cursor on its line; None: it does not."""
    rest = site.rest_of_line.lstrip()
    if rest[:1] in CLOSERS:
        return _before_doubled_bracket(text, site, line_comment)
    quote = next((quote for quote in _QUOTES if rest.startswith(quote)), None)
    return None if quote is None else _before_doubled_quote(text, quote, site)


def _before_doubled_bracket(text: str, site: Site, line_comment: str | None) -> int | None:
    line, rest = site.line, site.rest_of_line
    start = string_start(line, line_comment)
    if start is not None:
        # Between the braces of a string there is code; the string goes no further than its next quote.
        quote, line = line[start], line[start + 1 :]
        text, rest = text.partition(quote)[0], rest.partition(quote)[0]

    def surplus(said: str) -> int:
        return unopened(line + said + rest, line_comment)

    before = surplus("")
    if surplus(text) <= before:
        return None
    return next((at for at in _leaving(text, line, line_comment) if surplus(text[: at + 1]) > before), None)


def _leaving(text: str, line: str, line_comment: str | None) -> list[int]:
    """Where a text closes what was opened before it."""
    found: list[int] = []
    stack: list[int] = []
    whole = line + text
    for at, char in code_brackets(whole, line_comment):
        if char in OPENERS:
            stack.append(at)
            continue
        if not stack or stack[-1] < len(line):
            found.append(at - len(line))
        if stack and whole[stack[-1]] == CLOSERS[char]:
            stack.pop()
    return [at for at in found if at >= 0]


def _before_doubled_quote(text: str, quote: str, site: Site) -> int | None:
    """Quotes that come in pairs end the string and begin another: `["‸"]` may well become `["a", "b"]`."""
    found = _places(text, quote)
    # A string of several lines need not have begun on this one.
    inside = len(_places(site.rest_of_line if len(quote) > 1 else site.line, quote)) % 2 == 1
    return found[0] if inside and len(found) % 2 == 1 else None


def _places(text: str, quote: str) -> list[int]:
    """Where a quote stands in a text; `\\` escapes."""
    found: list[int] = []
    index = 0
    while index < len(text):
        if text[index] == "\\":
            index += 2
        elif text.startswith(quote, index):
            found.append(index)
            index += len(quote)
        else:
            index += 1
    return found
