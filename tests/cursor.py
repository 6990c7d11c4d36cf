"""Tests are data: a source with a cursor mark in, text out."""

from __future__ import annotations

MARK = "‸"


def at_cursor(source: str) -> tuple[str, int]:
    """The text without its mark, and the offset where the mark was."""
    before, mark, after = source.partition(MARK)
    assert mark and MARK not in after, "a test source has exactly one cursor mark"
    return before + after, len(before)
