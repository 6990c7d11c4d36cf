"""What inserting at a cursor does to a file's syntax; following edits gives what parsing anew gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completion.syntax import MAX_BYTES, Syntax, SyntaxTrees
from tests.cursor import at_cursor


def syntax_of(source: str, language_id: str = "python", trees: SyntaxTrees | None = None) -> Syntax:
    text, offset = at_cursor(source)
    found = (trees or SyntaxTrees()).at(path="a", language_id=language_id, text=text, offset=offset)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("source", "text", "language_id", "breaks"),
    [
        ("x = ‸\ny = 1\n", "(a +", "python", True),
        ("x = ‸\ny = 1\n", "(a + b)", "python", False),
        ("print(‸)\n", "a)", "python", True),
        ("ä = f(‸)\n", "ö", "python", False),
        ('x = 1\n‸\ny = "a"\n', 'z = """b', "python", True),
        ("x = 1\n‸\n    y,\n)\n", "foo(", "python", False),
        ("function f() {\n  ‸\n}\n", "return 1;\n}", "javascript", True),
        ("f(‸\ny = 1\n", "a, b, [", "python", False),
        # What follows would stand deeper than its block, which grammars take lightly.
        ("def f():\n    ‸\n        return 1\n    return 2\n", "x = 1", "python", True),
        ("def f():\n    ‸\n        return 1\n    return 2\n", "if x:", "python", False),
        ("def f():\n    ‸\n    # why\n\n        return 1\n", "x = 1", "python", True),
        ("def f():\n    ‸\n        # why\n    return 1\n", "x = 1", "python", False),
        ("def f():\n    ‸\n    return 1\n", "x = g(\n        1,\n    )", "python", False),
        ("def f():\n    x = 1\n    ‸\n        y = 2\n", "z = 3", "python", False),  # as it is already
        ("x = 1; y = 2\n‸\nz = 3\n", "a = 1; b = 2", "python", False),
        ("function f() {\n  ‸\n      g();\n}\n", "h();", "javascript", False),
    ],
)
def test_breaks(source: str, text: str, language_id: str, breaks: bool) -> None:
    assert syntax_of(source, language_id).breaks(text) is breaks


def test_what_was_broken_elsewhere_is_not_held_against_a_text() -> None:
    source = "def f(:\n    pass\n" + "x = 1\n" * 20 + "‸\n"
    assert not syntax_of(source).breaks("y = 2")


@pytest.mark.parametrize(
    ("source", "text", "lacks"),
    [
        ("def f():\n    ‸\n    return 1\n", "if x:", True),
        ("def f():\n    ‸\n        return 1\n", "if x:", False),
        ("‸\n", "for x in y:", True),
        ("‸\n", 'def f(a):\n    """Doc."""', False),
        ("x = lambda:‸\n", " 0", False),
        ("‸\n", "if x:\n    y()\nelse:", True),
    ],
)
def test_heads_without_a_body(source: str, text: str, lacks: bool) -> None:
    assert syntax_of(source).lacks_body(text) is lacks


@pytest.mark.parametrize(
    ("source", "language_id", "follows"),
    [
        ("def f():\n    return 1\n    ‸\n", "python", True),
        ("def f():\n    return (\n        1\n    )\n\n    ‸\n", "python", True),
        ("def f():\n    if x:\n        return 1\n    ‸\n", "python", False),
        ("def f():\n    if x: return 1\n    ‸\n", "python", False),
        ("def f():\n    returned()\n    ‸\n", "python", False),
        ('def f():\n    """Text that ends in\n    return 1\n    ‸"""\n', "python", False),
        ("while x:\n\tbreak\n\t‸\n", "python", True),
        ("def f():\r\n    raise E\r\n    ‸\r\n", "python", True),
        ("function f() {\n  return 1;\n  ‸\n}\n", "javascript", True),
        ("function f() {\n  if (x) return 1;\n  ‸\n}\n", "javascript", False),
        ("fn f() {\n    return 1;\n    ‸\n}\n", "rust", True),
        ("‸\n", "python", False),
    ],
)
def test_places_behind_a_jump(source: str, language_id: str, follows: bool) -> None:
    assert syntax_of(source, language_id).follows_jump() is follows


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("x = f('a‸b')\n", "string"),
        ("x = 1  # a‸b\n", "comment"),
        ("x = f'{a‸}'\n", "code"),
        ('"""Doc.\n\nMore:\n‸\n"""\n', "string"),
        ("x = 1‸\n", "code"),
    ],
)
def test_what_the_cursor_stands_in(source: str, kind: str) -> None:
    assert syntax_of(source).kind_at() == kind


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.text('ab(\n :)"é', max_size=4)), max_size=8))
def test_following_edits_gives_what_parsing_anew_gives(edits: list[tuple[float, int, str]]) -> None:
    text = "def f(a):\n    return [a, é]\n\nx = f(1)\n"
    trees = SyntaxTrees()
    for where, gone, came in edits:
        at = int(where * len(text))
        text = text[:at] + came + text[at + gone :]
        followed = trees.at(path="a", language_id="python", text=text, offset=at)
        anew = SyntaxTrees().at(path="a", language_id="python", text=text, offset=at)
        assert followed is not None
        assert anew is not None
        assert (followed.broken, followed.errors("x"), followed.kind_at()) == (
            anew.broken,
            anew.errors("x"),
            anew.kind_at(),
        )


def test_long_files_and_unknown_languages_have_no_syntax() -> None:
    trees = SyntaxTrees()
    assert trees.at(path="a", language_id="python", text="x" * (MAX_BYTES + 1), offset=0) is None
    assert trees.at(path="a", language_id="cobol", text="x", offset=0) is None
