"""Where suggestions end: a source with a cursor and a long-winded model in, the kept text out."""

from __future__ import annotations

import pytest

from completion.api import Level
from completion.language import detect
from completion.stopping import Shape, StoppingGuard, before_loop, choose_shape, survey
from completion.syntax import SyntaxTrees
from tests.cursor import at_cursor


def check(
    source: str,
    generated: str,
    kept: str,
    *,
    path: str = "a.py",
    level: Level = Level.BALANCED,
    ends: str = "stop",
    syntax: bool = False,
) -> str:
    """Feed `generated` character by character; assert what is kept, and return the reason."""
    text, offset = at_cursor(source)
    site, language = survey(text, offset), detect(path=path)
    shape = choose_shape(site, language, level)
    trees = SyntaxTrees()
    guard = StoppingGuard(
        site=site,
        shape=shape,
        language=language,
        level=level,
        syntax=lambda: trees.at(path=path, language_id=language.id, text=text, offset=offset) if syntax else None,
    )
    seen = ""
    cut = None
    for char in generated:
        seen += char
        cut = guard.check(seen)
        if cut:
            break
    cut = cut or guard.finish(seen, ends)
    assert seen[: cut.length] == kept
    return cut.reason


def test_a_line_ends_at_its_newline() -> None:
    assert check("x = ‸\n", "1\ny = 2\n", "1") == "line"


def test_nothing_to_add_stays_nothing() -> None:
    assert check("x = 1‸\n", "\ny = 2\n", "") == "line"


def test_a_line_goes_on_while_its_brackets_are_open() -> None:
    assert check("f‸\n", "(\n    1,\n)\ng()", "(\n    1,\n)") == "line"


@pytest.mark.parametrize("syntax", [False, True])
@pytest.mark.parametrize(
    ("source", "generated", "kept", "reason"),
    [
        # What is closed behind the cursor is closed again (which polishing cuts): then no other line is waited for.
        ("on(‸)\n", "(event) => {\n  go();\n});\n", "(event) => {\n  go();\n});", "suffix"),
        ("on((‸))\n", "event) => {\n  go();\n});\n", "event) => {", "suffix"),
        ('get("/‸")\n', 'items", () => {\n  go();\n});\n', 'items", () => {', "suffix"),
        ("on(‸)\n", "(a) + [\n    b], c\nd", "(a) + [\n    b], c", "line"),
        ("go(() => {‸})\n", " if (x) {\n    y();\n  }\nz", " if (x) {\n    y();\n  }", "line"),
    ],
)
def test_a_line_that_closes_what_is_closed_already(
    source: str, generated: str, kept: str, reason: str, syntax: bool
) -> None:
    assert check(source, generated, kept, path="a.js", syntax=syntax) == reason


def test_a_line_that_says_its_rest_again() -> None:
    assert check("def f(a)‸:\n    pass\n", " -> int:\n    pass\n", " -> int:", syntax=True) == "line"
    assert check("for (const p of ‸ {\n", "points {\n  go();\n", "points {", path="a.js") == "line"


def test_a_value_of_several_lines_is_more_than_its_rest() -> None:
    said = "{\n        'b': 1,\n    }"
    assert check("x = {\n    'a': ‸,\n}\n", said + ",\n    'c': 2\n", said + ",", syntax=True) == "line"
    assert check("x = {\n    'a': ‸,\n}\n", "f(b,\n           c),\n", "f(b,\n           c),", syntax=True) == "line"


def test_open_brackets_do_not_run_away() -> None:
    assert check("f‸\n", "(\n" + "    1,\n" * 40, "(") == "lines"


def test_a_block_ends_where_indentation_falls_back() -> None:
    source = "def f(x):\n    ‸\n"
    assert check(source, "y = x\n    return y\n\ndef g():\n    pass\n", "y = x\n    return y\n") == "block"


def test_a_block_ends_at_the_first_character_that_leaves_it() -> None:
    text, offset = at_cursor("def f(x):\n    ‸\n")
    site, language = survey(text, offset), detect(path="a.py")
    guard = StoppingGuard(site=site, shape=Shape.BLOCK, language=language, level=Level.BALANCED)
    assert guard.check("return x\n") is None
    assert guard.check("return x\nd") is not None


def test_a_block_after_a_colon_on_the_same_line() -> None:
    assert check("if x:‸\n", "\n    return 1\nelse:\n", "\n    return 1") == "block"


def test_a_brace_block_keeps_its_closer() -> None:
    source = "function f() {\n  ‸"
    assert check(source, "return 1;\n}\nfunction g() {", "return 1;\n}", path="a.js") == "block"


def test_a_brace_block_leaves_a_closer_that_is_already_there() -> None:
    source = "function f() {\n  ‸\n}\n"
    assert check(source, "return 1;\n}\nfunction g() {", "return 1;", path="a.js") == "block"


def test_a_block_ends_before_what_already_follows() -> None:
    source = "def f():\n    ‸\n    return total\n"
    assert check(source, "total = 1\n    return total\n", "total = 1") == "suffix"


def test_a_block_ends_at_two_blank_lines() -> None:
    assert check("def f():\n    ‸", "a = 1\n\n\n\n    b = 2\n", "a = 1") == "blank"


def test_an_unfinished_last_line_goes_when_tokens_run_out() -> None:
    assert check("def f():\n    ‸", "a = 1\n    b = a.unfin", "a = 1", ends="length") == "tokens"


def test_the_only_line_stays_when_tokens_run_out() -> None:
    assert check("x = ‸", "some_long_na", "some_long_na", ends="length") == "tokens"


def test_quiet_is_one_line() -> None:
    assert check("def f():\n    ‸", "a = 1\n    b = 2\n", "a = 1", level=Level.QUIET) == "line"


def test_eager_writes_blocks_anywhere() -> None:
    source = "def f():\n    a = 1\n    ‸"
    assert check(source, "b = 2\n    return b\ng()\n", "b = 2\n    return b", level=Level.EAGER) in ("block", "blank")


@pytest.mark.parametrize(
    ("source", "path", "shape"),
    [
        ("def f():\n    ‸", "a.py", Shape.BLOCK),
        ("def f():  # why\n    ‸", "a.py", Shape.BLOCK),
        ("# so:\n‸", "a.py", Shape.LINE),
        ("x = 1\n‸", "a.py", Shape.LINE),
        ("x = (‸)", "a.py", Shape.LINE),
        ("if (x) {\n\t‸", "a.ts", Shape.BLOCK),
        ("const f = (x) =>‸", "a.ts", Shape.BLOCK),
        ("while x; do\n‸", "a.sh", Shape.BLOCK),
        ("Two things:\n‸", "a.md", Shape.LINE),
        ("if x:\r\n    ‸\r\n", "a.py", Shape.BLOCK),
    ],
)
def test_shape_follows_syntax(source: str, path: str, shape: Shape) -> None:
    text, offset = at_cursor(source)
    assert choose_shape(survey(text, offset), detect(path=path), Level.BALANCED) is shape


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x += amount.amount * amount.amount * amount.amount * amount.amount * ", "x += amount.amount"),
        ("abc", None),
        ("0, 0, 0, 0, 0, 0, ", None),
        ("0, " * 12, "0"),
        ("for line in lines: a\nfor line in lines: a\nfor line in lines: a\n", "for line in lines: a\n"),
        ("=" * 200, None),
        ("row(1, 2)\nrow(2, 3)\nrow(3, 4)\nrow(4, 5)\n", None),
    ],
)
def test_loops(text: str, kept: str | None) -> None:
    length = before_loop(text)
    assert (None if length is None else text[:length]) == kept


def test_a_loop_ends_the_suggestion() -> None:
    assert check("x = ‸", "amount.total + " * 9, "amount.total") == "loop"


@pytest.mark.parametrize(
    ("source", "generated", "kept", "path", "reason"),
    [
        ("‸\n", "if x:\n    a()\n    b()\nc()\n", "if x:\n    a()\n    b()", "a.py", "block"),
        (
            "x = 1\n‸\ny = 2\n",
            "@cached\ndef f():\n    return 1\ng()\n",
            "@cached\ndef f():\n    return 1",
            "a.py",
            "block",
        ),
        ("x = 1\n‸\n    y,\n)\n", "foo(\n    x,\n)", "foo(", "a.py", "line"),
        ("x = 1\n‸\ny = 2\n", 'z = """a\nb\n"""\nc = 1\n', 'z = """a\nb\n"""', "a.py", "line"),
        ("x = 1\n‸\ny = 2\n", "a b c\nd e f\n", "a b c", "a.py", "line"),
        ("function f() {\n  ‸\n}\n", "go();\n}\n", "go();", "a.js", "block"),
        ("function f() {\n  ‸\n", "go();\n}\nmore();\n", "go();\n}", "a.js", "block"),
        ("function f() {\n  if (x) {\n    ‸\n  }\n}\n", "go();\n} more()", "go();", "a.js", "block"),
        ("const a = [\n  ‸\n];\n", "1,\n  2,\n];\nb();", "1,\n  2,", "a.ts", "block"),
        ("if [ -f x ]; then\n  ‸\nfi\n", "echo a\nfi\n", "echo a", "a.sh", "block"),
    ],
)
def test_what_was_begun_at_the_cursor_is_closed(source: str, generated: str, kept: str, path: str, reason: str) -> None:
    assert check(source, generated, kept, path=path, syntax=True) == reason


def test_a_colon_in_words_opens_nothing() -> None:
    text, offset = at_cursor('"""Two things:\n‸\n"""\n')
    site = survey(text, offset)
    assert choose_shape(site, detect(path="a.py"), Level.BALANCED, in_words=True) is Shape.LINE
