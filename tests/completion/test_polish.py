"""What is already there is never offered: a source with a cursor and a generated text in, the shown text out."""

from __future__ import annotations

import pytest

from completion.language import detect
from completion.polish import polish
from completion.stopping import survey
from tests.cursor import at_cursor


@pytest.mark.parametrize(
    ("source", "generated", "shown"),
    [
        ("print(‸)", "x)", "x"),
        ("print(‸)", "f(x))", "f(x)"),
        ("print(‸)", "f(x)", "f(x)"),
        ("print(f(‸))", "x))", "x"),
        ("print(f(‸))", "x)", "x"),
        ("x = [‸]", "1, 2]", "1, 2"),
        ('x = "‸"', 'abc"', "abc"),
        ("for ‸ in items:", "item in items:", "item"),
        ("a ‸ b + c", "= b + c", "="),
        ("x = ‸", "1   ", "1"),
        ("x = ‸", "   \n  ", ""),
        ("‸\nreturn x\n", "return x", ""),
        ("    ‸\n    return x\n", "return x", ""),
        ("x = ‸", "1  \n  + 2 ", "1\n  + 2"),
        ("call(‸", "a, b)", "a, b)"),
        ("if x:\n    ‸", " y = 1\n     z = 2", "y = 1\n    z = 2"),
        ("if x:\n    ‸", "    y = 1\n    z = 2", "    y = 1\n    z = 2"),
        ("if x:\n  ‸", "   y = 1", "  y = 1"),
        ("if x:\n    ‸", " y = 1\nz = 2", "y = 1\nz = 2"),
        ("x =‸", " 1", " 1"),
        ("if x:\n\t‸", "for y in x:\n    z()\n    if z:\n        w()", "for y in x:\n\tz()\n\tif z:\n\t\tw()"),
        ("if x:\n\t‸", "for y in x:\n\t\tz()", "for y in x:\n\t\tz()"),
        ("if x:\n    ‸", "for y in x:\n\t\tz()", "for y in x:\n        z()"),
        ("def f():‸", "\n\treturn 1", "\n\treturn 1"),
    ],
)
def test_polish(source: str, generated: str, shown: str) -> None:
    text, offset = at_cursor(source)
    result, notes = polish(generated, survey(text, offset), detect(path="a.py"))
    assert result == shown
    assert bool(notes) == (result != generated)
