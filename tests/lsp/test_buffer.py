"""Buffers against a slow, obvious reference that looks at one character at a time."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsp.buffer import Buffer
from lsp.positions import Encoding, LineIndex, Place, characters, units

EDITS_AN_EXAMPLE = 25
EXAMPLES = 420  # × 25 edits = 10,500

PIECES = ["a", "b", " ", "é", "漢", "😀", "𝄞", "\r\n", "\n", "\r", "\f", "\v", "\u2028", "\x85", "\ud83d", "\ude00"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
LINES = st.integers(0, 8)
COLUMNS = st.integers(0, 12)
EDITS = st.tuples(LINES, COLUMNS, LINES, COLUMNS, TEXTS)
ENCODINGS = st.sampled_from(list(Encoding))

CODECS = {Encoding.UTF8: ("utf-8", 1), Encoding.UTF16: ("utf-16-le", 2), Encoding.UTF32: ("utf-32-le", 4)}


def reference_lines(text: str) -> list[tuple[int, int]]:
    """Start and end (before the line end) of each line."""
    lines, start, at = [], 0, 0
    while at < len(text):
        width = 2 if text[at : at + 2] == "\r\n" else 1 if text[at] in "\r\n" else 0
        if width:
            lines.append((start, at))
            start = at + width
        at += width or 1
    return [*lines, (start, len(text))]


def reference_units(character: str, encoding: Encoding) -> int:
    codec, width = CODECS[encoding]
    return len(character.encode(codec, "surrogatepass")) // width


def reference_offset(text: str, line: int, column: int, encoding: Encoding) -> int:
    lines = reference_lines(text)
    if line >= len(lines):
        return len(text)
    at, end = lines[line]
    while at < end and (column := column - reference_units(text[at], encoding)) >= 0:
        at += 1
    return at


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS, st.lists(EDITS, min_size=EDITS_AN_EXAMPLE, max_size=EDITS_AN_EXAMPLE), ENCODINGS)
def test_random_edits_equal_the_reference(text: str, edits: list[tuple[int, int, int, int, str]], encoding: Encoding):
    buffer = Buffer(text, encoding=encoding)
    for line, column, last_line, last_column, inserted in edits:
        first, last = sorted(
            (reference_offset(text, line, column, encoding), reference_offset(text, last_line, last_column, encoding))
        )
        text = text[:first] + inserted + text[last:]
        buffer.replace(Place(line, column), Place(last_line, last_column), inserted)
        assert buffer.text == text
        assert list(buffer.index.starts) == [start for start, _ in reference_lines(text)]
    assert buffer.revision == len(edits)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS, ENCODINGS)
def test_places_and_offsets_are_inverse(one: str, two: str, three: str, four: str, encoding: Encoding):
    text = one + two + three + four
    buffer = Buffer(text, encoding=encoding)
    for start, end in reference_lines(text):
        for offset in range(start, end + 1):
            assert buffer.offset(buffer.place(offset)) == offset


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, ENCODINGS)
def test_units_and_characters_equal_counting_one_by_one(one: str, two: str, encoding: Encoding):
    text = one + two
    # A half character before its other half makes a whole one: counted together, not one by one.
    widths = [reference_units(character, encoding) for character in text]
    assert units(text, encoding) == sum(widths)
    for limit in range(sum(widths) + 2):
        fitting, used = 0, 0
        while fitting < len(widths) and used + widths[fitting] <= limit:
            used += widths[fitting]
            fitting += 1
        assert characters(text, limit, encoding) == fitting


CLAMPED = [
    pytest.param("ab\r\ncd", Place(0, 99), 2, id="column past the end stays before the line end"),
    pytest.param("ab\r\ncd", Place(1, 99), 6, id="column past the end of the last line"),
    pytest.param("ab\n", Place(1, 0), 3, id="the empty line after a last line end"),
    pytest.param("ab\n", Place(2, 0), 3, id="one line past the last"),
    pytest.param("ab", Place(7, 5), 2, id="far past the last line"),
    pytest.param("", Place(0, 0), 0, id="empty text"),
    pytest.param("\r\r\n\n", Place(1, 3), 1, id="an empty line between a lone return and a pair"),
    pytest.param("a\fb\u2028c\x85d", Place(0, 7), 7, id="form feed, U+2028 and U+0085 end no line"),
]


@pytest.mark.parametrize(("text", "place", "offset"), CLAMPED)
def test_clamping(text: str, place: Place, offset: int):
    assert Buffer(text).offset(place) == offset


INSIDE = [
    pytest.param(Encoding.UTF16, 1, 0, id="second half of a surrogate pair"),
    pytest.param(Encoding.UTF8, 3, 0, id="last byte of four"),
    pytest.param(Encoding.UTF16, 2, 1, id="after the pair"),
    pytest.param(Encoding.UTF8, 4, 1, id="after the four bytes"),
    pytest.param(Encoding.UTF32, 1, 1, id="one unit a character"),
]


@pytest.mark.parametrize(("encoding", "column", "offset"), INSIDE)
def test_a_column_inside_a_character_means_its_start(encoding: Encoding, column: int, offset: int):
    assert Buffer("😀b", encoding=encoding).offset(Place(0, column)) == offset


def test_replacing_everything_forgets_the_old_lines():
    buffer = Buffer("a\nb\nc")
    assert buffer.offset(Place(2, 1)) == 5
    buffer.replace_all("abc")
    assert buffer.offset(Place(0, 2)) == 2
    assert buffer.index.starts == LineIndex.of("abc").starts
