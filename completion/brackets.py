"""Bracket balance of a piece of code, strings and comments left out as far as one line can tell."""

from __future__ import annotations

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
_QUOTES = "\"'`"


def unclosed(text: str, line_comment: str | None = None) -> list[str]:
    """Openers of `text` that it does not close, outermost first. Quotes end with their line; `\\` escapes."""
    stack: list[str] = []
    for char in _code_characters(text, line_comment):
        if char in OPENERS:
            stack.append(char)
        elif char in CLOSERS and stack and stack[-1] == CLOSERS[char]:
            stack.pop()
    return stack


def unopened(text: str, line_comment: str | None = None) -> int:
    """How many closers of `text` have no opener in it."""
    stack: list[str] = []
    count = 0
    for char in _code_characters(text, line_comment):
        if char in OPENERS:
            stack.append(char)
        elif char in CLOSERS:
            if stack and stack[-1] == CLOSERS[char]:
                stack.pop()
            else:
                count += 1
    return count


def _code_characters(text: str, line_comment: str | None) -> list[str]:
    """The brackets of `text` that are code."""
    found: list[str] = []
    quote = ""
    index = 0
    while index < len(text):
        char = text[index]
        if char == "\n":
            quote = ""
        elif quote:
            if char == "\\":
                index += 1
            elif char == quote:
                quote = ""
        elif char in _QUOTES:
            quote = char
        elif line_comment and text.startswith(line_comment, index):
            newline = text.find("\n", index)
            index = len(text) if newline < 0 else newline
            continue
        elif char in OPENERS or char in CLOSERS:
            found.append(char)
        index += 1
    return found
