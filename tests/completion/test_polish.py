"""What is already there is never offered: a source with a cursor and a generated text in, the shown text out."""

from __future__ import annotations

import pytest

from completion.language import detect
from completion.polish import polish
from completion.stopping import survey
from completion.syntax import SyntaxTrees
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
        ("    if x:\n        ‸\n    return x\n", "return x", "return x"),
        ("    if x:\n‸\n    return x\n", "        return x", "        return x"),
        ("    if x:\n        ‸\n        return x\n", "return x", ""),
        ("    f(\n        ‸\n    )\n", ")", ""),
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
        ("x = ‸", "1<|endoftext|>def f():", "1"),
        ("x = ‸", "1</s>", "1"),
        ("tokens = ['<|im_end|>', ‸", "'<|im_start|>']", "'<|im_start|>']"),
        ("def f():\n    ‸", "# TODO: implement this", ""),
        ("def f():\n    ‸", "# Your code goes here\n    pass", ""),
        ("def f():\n    ‸", "# TODO list of the user", "# TODO list of the user"),
        ("a(1)\nb(2)\nc(3)\n‸", "a(1)\nb(2)\nc(3)", ""),
        ("a(1)\nb(2)\nc(3)\n‸", "b(2)", "b(2)"),
    ],
)
def test_polish(source: str, generated: str, shown: str) -> None:
    text, offset = at_cursor(source)
    result, notes = polish(generated, survey(text, offset), detect(path="a.py"))
    assert result == shown
    assert bool(notes) == (result != generated)


@pytest.mark.parametrize(
    ("source", "generated", "shown"),
    [
        ("x = f(‸\n", "a, b)", "a, b)"),
        ("x = ‸\ny = 1\n", "f(a", "f(a)"),
        ("x = ‸\ny = 1\n", "f(a))", "f(a)"),
        ("‸\ny = 1\n", "a = 1\nb = 'x\nc = 2", "a = 1"),
        ("‸\ny = 1\n", "def f(:", ""),
        ("def f(:\n    ‸\n", "return (", "return ()"),
    ],
)
def test_a_sound_file_stays_sound(source: str, generated: str, shown: str) -> None:
    text, offset = at_cursor(source)
    syntax = SyntaxTrees().at(path="a.py", language_id="python", text=text, offset=offset)
    result, notes = polish(generated, survey(text, offset), detect(path="a.py"), syntax)
    assert result == shown
    assert bool(notes) == (result != generated)


@pytest.mark.parametrize(
    ("source", "generated", "shown"),
    [
        # Brackets and quotes that the editor closed by itself: up to them, whatever comes behind.
        ("onChange(‸)\n", "value);", "value"),
        ("onChange(value‸)\n", ");", ""),
        ("res.status(‸)\n", "201).send(todo);", "201"),
        ("const reset = (‸)\n", "value) => {", "value"),
        ("f(g(‸))\n", "x), y);", "x"),
        ("f(g(‸)\n", "x));", "x)"),
        ("f(‸)\n", "x)", "x"),
        ("f(‸)\n", "(a + b) * c);", "(a + b) * c"),
        ("f(‸)\n", "a) + g(b", "a) + g(b"),
        ("let point = { ‸}\n", "x: 0, y: 0 };", "x: 0, y: 0 "),
        ("f(‸)\n", "\n  a,\n  b,\n);", "\n  a,\n  b,\n"),
        ("items = [‸];\n", "1, 2].map(String)", "1, 2"),
        ("<b onClick={() => set(‸)}\n", "step)}>", "step"),
        ('app.post("/‸")\n', 'todos", (req, res) => {', "todos"),
        ('log("‸")\n', 'it\'s \\"so\\"");', 'it\'s \\"so\\"'),
        ('names = ["‸"];\n', 'a", "b', 'a", "b'),
        ('names = [‸"a"];\n', '"b", ', '"b",'),
        ("fetch(`${‸`)\n", "BASE}/${id}`);", "BASE}/${id}"),
        ("fetch(`${‸}`)\n", "BASE}/items", "BASE"),
        ("for (const p of ‸ {\n", "points) {", "points)"),
        ("x = f(‸(\n", "g(", "g"),
    ],
)
def test_what_is_closed_already_is_not_closed_again(source: str, generated: str, shown: str) -> None:
    text, offset = at_cursor(source)
    syntax = SyntaxTrees().at(path="a.js", language_id="javascript", text=text, offset=offset)
    result, notes = polish(generated, survey(text, offset), detect(path="a.js"), syntax)
    assert result == shown
    assert bool(notes) == (result != generated)


@pytest.mark.parametrize(
    ("source", "generated", "shown"),
    [
        ("class A:\n    def add(‸)\n", "self, item):", "self, item"),
        ('def f():\n    """‸"""\n', 'Do it."""\n    return 1', "Do it."),
        ('def f():\n    """‸"""\n', 'Do it."""', "Do it."),
        ('def f():\n    """Do it.\n\n    ‸"""\n', 'And more."""\n    return 1', "And more."),
        ("x = f(‸)\n", 'a, ")")', 'a, ")"'),
        ("x = f'{‸}'\n", "name}'", "name"),
        ("x = f'{‸}'\n", "name} of {other}'", "name} of {other"),
        ("x = f'{‸}'\n", "name} of ", "name"),
        ("x = f'{‸}'\n", "name!r} of {other", "name!r} of {other"),
        ("x = f'{names[‸]}'\n", "0]} of them', 1", "0"),
        ('x = ["‸"]\n', 'a", "b"]', 'a", "b'),
        ('x = ["‸"]\n', 'a", f(b)]', "a"),
        ("def f(a)‸:\n    pass\n", " -> int:\n", " -> int"),
    ],
)
def test_what_is_closed_already_in_python(source: str, generated: str, shown: str) -> None:
    text, offset = at_cursor(source)
    syntax = SyntaxTrees().at(path="a.py", language_id="python", text=text, offset=offset)
    assert polish(generated, survey(text, offset), detect(path="a.py"), syntax)[0] == shown


@pytest.mark.parametrize(
    ("source", "generated", "shown"),
    [
        ("‸\n", "run(() => {\n  go();", "run(() => {\n  go();\n})"),
        ("{\n  ‸\n}\n", "if (x) {\n    go([\n      1,", "if (x) {\n    go([\n      1,\n    ])\n  }"),
        ("{\n  run‸\n}\n", "(() => {\n    go(1", "(() => {\n    go(1)\n  })"),
        ("run(() => {\n  ‸\n});\n", "go();\n  stop();", "go();\n  stop();"),
    ],
)
def test_what_is_left_open_is_closed(source: str, generated: str, shown: str) -> None:
    text, offset = at_cursor(source)
    syntax = SyntaxTrees().at(path="a.js", language_id="javascript", text=text, offset=offset)
    language, site = detect(path="a.js"), survey(text, offset)
    assert polish(generated, site, language, syntax)[0] == shown
    if shown != generated:  # where the model was stopped in the middle, the rest of it is not known
        assert polish(generated, site, language, syntax, ended=False)[0] == ""
