"""Where cursors may stand, and that a cut is what its kind says."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from model.train.cuts import KIND_SHARES, MAX_MIDDLE_CHARS, Cursor, Cut, CutKind, Cutter, draw_kind
from tests.model.train.tiny_corpus import MAIN, SCRIPT, SHAPES

SOURCES = [(SHAPES, "python"), (MAIN, "python"), (SCRIPT, "typescript")]


def cuts(kind: CutKind) -> list[tuple[str, Cut]]:
    """Many cuts of one kind from every source."""
    found = []
    for text, language in SOURCES:
        cutter = Cutter(text, language)
        made = (cutter.cut_kind(kind, random.Random(seed)) for seed in range(120))
        found += [(text, cut) for cut in made if cut is not None]
    assert len(found) > 40
    return found


def line_before(text: str, cut: Cut) -> str:
    return text[text.rfind("\n", 0, cut.start) + 1 : cut.start]


def test_kinds_come_in_their_shares() -> None:
    rng = random.Random(1)
    counts = Counter(draw_kind(rng) for _ in range(20_000))
    assert sum(KIND_SHARES.values()) == pytest.approx(1)
    for kind, share in KIND_SHARES.items():
        assert counts[kind] / 20_000 == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize("kind", CutKind)
def test_equal_seeds_give_equal_cuts_and_middles_are_short(kind: CutKind) -> None:
    again = cuts(kind)
    assert cuts(kind) == again
    assert all(0 <= cut.start <= cut.end <= len(text) for text, cut in again)
    assert all(cut.end - cut.start <= MAX_MIDDLE_CHARS for _, cut in again)
    assert {cut.kind for _, cut in again} == {kind}


def test_rest_of_line_ends_where_the_line_ends() -> None:
    for text, cut in cuts(CutKind.LINE):
        middle = text[cut.start : cut.end]
        assert middle.strip()
        assert "\n" not in middle
        assert text[cut.end : cut.end + 1] in ("\n", "")


def test_every_way_of_standing_in_a_line_occurs() -> None:
    seen = Counter(cut.cursor for _, cut in cuts(CutKind.LINE))
    assert set(seen) == {Cursor.COLUMN_0, Cursor.INDENTED, Cursor.MID_TOKEN, Cursor.MID_LINE}


def test_cursors_stand_where_they_say() -> None:
    for text, cut in cuts(CutKind.LINE):
        before, after = line_before(text, cut), text[cut.start :]
        match cut.cursor:
            case Cursor.COLUMN_0:
                assert before == ""
                assert after[0] in " \t"
            case Cursor.INDENTED:
                assert not before.strip()
                assert not after[0].isspace()
            case Cursor.MID_TOKEN:
                assert f"{before[-1]}{after[0]}".replace("_", "a").isalnum()
            case _:
                assert before.strip()


def test_nothing_is_missing_in_an_empty_cut() -> None:
    found = cuts(CutKind.EMPTY)
    assert all(cut.start == cut.end and line_before(text, cut).strip() for text, cut in found)
    assert {cut.cursor for _, cut in found} == {Cursor.LINE_END, Cursor.MID_LINE}


def test_arguments_lie_between_brackets() -> None:
    for text, cut in cuts(CutKind.ARGUMENTS):
        assert text[cut.end] in ")]}"
        assert text[: cut.start].rstrip()[-1] in "([{,"


def test_blocks_end_where_their_last_statement_ends() -> None:
    found = cuts(CutKind.BLOCK)
    assert {cut.cursor for _, cut in found} == {Cursor.BLOCK_START, Cursor.COLUMN_0, Cursor.LINE_END}
    for text, cut in found:
        middle = text[cut.start : cut.end]
        assert middle == middle.rstrip()
        # What is left without the block still opens it.
        assert text[: cut.start].rstrip().endswith((":", "{", '"""', ";")) or middle.startswith("\n")


def test_statements_may_span_lines_and_may_be_begun() -> None:
    found = cuts(CutKind.STATEMENT)
    assert any("\n" in text[cut.start : cut.end] for text, cut in found)
    assert {Cursor.INDENTED, Cursor.MID_LINE} <= {cut.cursor for _, cut in found}


def test_offsets_are_characters_beside_wide_ones() -> None:
    cutter = Cutter(MAIN, "python")
    made = [cutter.cut_kind(CutKind.ARGUMENTS, random.Random(seed)) for seed in range(200)]
    middles = {MAIN[cut.start : cut.end] for cut in made if cut is not None}
    assert '"größte", biggest.radius, biggest.colour' in middles


def test_a_file_without_blocks_offers_none() -> None:
    assert Cutter("x = 1\n", "python").cut_kind(CutKind.BLOCK, random.Random(0)) is None
