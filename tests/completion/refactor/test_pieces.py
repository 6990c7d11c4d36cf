"""Pieces of wishes and selections begin and end where people mean them to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completion.refactor import pieces


def test_words_are_identifiers_and_the_first_may_be_small() -> None:
    assert pieces.words("Rename `Old_name` to new2, 3 times") == (
        "Rename",
        "Old_name",
        "to",
        "new2",
        "times",
        "rename",
    )


def test_reserved_words_and_files_are_no_names() -> None:
    assert pieces.free_words("move for class x to src/text.py") == ("move", "x", "to")
    assert pieces.free_words("s/old/fresh/") == ("s", "old", "fresh")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("move it to src/text.py.", ("src/text.py",)),
        ("in text.py and lib/util", ("text.py", "lib/util")),
        ("rename Parser.feed", ()),
    ],
)
def test_paths(text: str, expected: tuple[str, ...]) -> None:
    assert pieces.paths(text) == expected


def test_numbers_of_lines_stand_in_many_ways() -> None:
    assert pieces.numbers("L3-L7, 10..12, x42y") == (3, 7, 10, 12, 42)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("with default None.", "None"),
        ("add limit=10, please", "10"),
        ("the default is `[]`", "[]"),
        ("(default: 'utf-8')", "'utf-8'"),
        ('is "auto" unless stated', '"auto"'),
        ('add it (default "")', '""'),
        ("defaults to dict(a=1, b=2)", "dict(a=1, b=2)"),
        ("by default -1", "-1"),
        ("f(..., size=3.0)", "3.0"),
        ("a parameter x = ()", "()"),
        ('say "two words" then', '"two words"'),
    ],
)
def test_values_stand_without_what_people_put_around_them(text: str, value: str) -> None:
    assert value in pieces.values(text)


def test_values_are_few() -> None:
    assert pieces.values("set x to 10.") == ("set", "x", "to", "10.", "10")


@given(st.text(max_size=60))
def test_chunks_are_the_text(text: str) -> None:
    assert json.loads('"' + "".join(pieces.chunks(text)) + '"') == text


@given(st.text(alphabet="ab =(.)`\n", max_size=40), st.text(alphabet="ab =(.)`\n", max_size=40))
def test_what_is_shared_stands_in_both(selected: str, text: str) -> None:
    for piece in pieces.shared(selected, text):
        assert piece in selected
        assert piece in text or piece == selected.strip()


@pytest.mark.parametrize(
    ("selected", "text", "expected"),
    [
        ("x = os.path.join(a, b)\ny = 2", "extract os.path.join(a, b) as place", ("os.path.join(a, b)",)),
        ("x = load(a)\ny = load(b)", "name load(b) and then load(a)", ("load(a)", "load(b)")),
        ('say("old text")', 'make "old text" "new"', ('"old text"', 'say("old text")')),
        ("sizes = 1\nb = 2", "extract size", ()),
    ],
)
def test_the_longest_shared_runs(selected: str, text: str, expected: tuple[str, ...]) -> None:
    assert pieces.shared(selected, text) == expected
