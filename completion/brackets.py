"""Bracket balance of a piece of code, strings and comments left out as far as one line can tell."""

from __future__ import annotations

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
QUOTES = "\"'`"


def unclosed(text: str, line_comment: str | None = None) -> list[int]:
    """Where `text` opens what it does not close, outermost first. Quotes end with their line; `\\` escapes."""
    stack: list[int] = []
    for at, char in code_brackets(text, line_comment):
        if char in OPENERS:
            stack.append(at)
        elif stack and text[stack[-1]] == CLOSERS[char]:
            stack.pop()
    return stack


def unopened(text: str, line_comment: str | None = None) -> int:
    """How many closers of `text` have no opener in it."""
    stack: list[str] = []
    count = 0
    for _, char in code_brackets(text, line_comment):
        if char in OPENERS:
            stack.append(char)
        elif stack and stack[-1] == CLOSERS[char]:
            stack.pop()
        else:
            count += 1
    return count


def code_brackets(text: str, line_comment: str | None = None) -> list[tuple[int, str]]:
    """The brackets of `text` that are code, and where they stand."""
    brackets, _ = _read(text, line_comment)
    return brackets


def string_start(text: str, line_comment: str | None = None) -> int | None:
    """Where the string begins that `text` ends in; None: it ends in none."""
    _, start = _read(text, line_comment)
    return start


def _read(text: str, line_comment: str | None) -> tuple[list[tuple[int, str]], int | None]:
    found: list[tuple[int, str]] = []
    start: int | None = None
    index = 0
    while index < len(text):
        char = text[index]
        if char == "\n":
            start = None
        elif start is not None:
            if char == "\\":
                index += 1
            elif char == text[start]:
                start = None
        elif char in QUOTES:
            start = index
        elif line_comment and text.startswith(line_comment, index):
            newline = text.find("\n", index)
            index = len(text) if newline < 0 else newline
            continue
        elif char in OPENERS or char in CLOSERS:
            found.append((index, char))
        index += 1
    return found, start
