"""Tests are data: a source with a cursor mark in, text out."""

from __future__ import annotations

MARK = "‸"


def at_cursor(source: str) -> tuple[str, int]:
    """The text without its mark, and the offset where the mark was."""
    assert source.count(MARK) == 1, "a test source has exactly one cursor mark"
    before, _, after = source.partition(MARK)
    return before + after, len(before)
