"""The rule behind two edits that somebody made one by one, in texts that have other places, too."""

from __future__ import annotations

import pytest

from completion.refactor.learn import Pair
from completion.refactor.repeat import rule_behind
from completion.refactor.tools.rewrite import rewritten
from model.errors import RefusedError

FIX = """
def f(x, y, z):
    if x == None:
        return 1
    elif y == None:
        return 2
    while z == None or other == None:
        z = g(
            x == None
        )
"""


def edits(path: str, text: str, *steps: tuple[str, str]) -> list[Pair]:
    """The texts as somebody changes one place after the other; each step replaces the first of its text."""
    pairs = []
    for old, new in steps:
        assert old in text
        after = text.replace(old, new, 1)
        pairs.append(Pair(path=path, before=text, after=after))
        text = after
    return pairs


@pytest.mark.parametrize(
    ("path", "text", "steps", "expected"),
    [
        ("a.py", FIX, [("x == None", "x is None"), ("y == None", "y is None")], FIX.replace("== None", "is None")),
        (
            "a.py",
            "self.assertEqual(a, f(1))\nself.assertEqual(b, 2)\nself.assertEqual(g(c), 3)\n",
            [("self.assertEqual(a, f(1))", "assert a == f(1)"), ("self.assertEqual(b, 2)", "assert b == 2")],
            "assert a == f(1)\nassert b == 2\nassert g(c) == 3\n",
        ),
        (
            "a.py",
            "def f():\n    log(a)\n    log(b, c)\n    log()\n",
            [("log(a)", "logger.info(a)"), ("log(b", "logger.info(b")],
            "def f():\n    logger.info(a)\n    logger.info(b, c)\n    logger.info()\n",
        ),
        (
            "a.ts",
            "const é = a.indexOf(b) >= 0;\nif (c.indexOf(d) >= 0) { go(e.indexOf(f) >= 0); }\n",
            [("a.indexOf(b) >= 0", "a.includes(b)"), ("c.indexOf(d) >= 0", "c.includes(d)")],
            "const é = a.includes(b);\nif (c.includes(d)) { go(e.includes(f)); }\n",
        ),
        (
            "a.go",
            "package a\n\nfunc f() {\n\tfmt.Println(\"a\")\n\tfmt.Println(b)\n\tfmt.Println(c)\n}\n",
            [('fmt.Println("a")', 'log.Print("a")'), ("fmt.Println(b)", "log.Print(b)")],
            "package a\n\nfunc f() {\n\tlog.Print(\"a\")\n\tlog.Print(b)\n\tlog.Print(c)\n}\n",
        ),
    ],
)  # fmt: skip
def test_the_third_edit(path: str, text: str, steps: list[tuple[str, str]], expected: str) -> None:
    made = edits(path, text, *steps)
    rule = rule_behind(made)
    assert rewritten(text, rule.language, rule.config, rule.fix)[0] == expected
    assert rewritten(made[-1].after, rule.language, rule.config, rule.fix)[0] == expected, "what is left, too"


@pytest.mark.parametrize(
    ("path", "text", "steps"),
    [
        ("a.py", "a = 1\nb = f(2)\n", [("a = 1", "a = 2"), ("f(2)", "g(3)")]),
        ("a.py", "a = 1\nb = (2\n", [("a = 1", "a = 2"), ("(2", "(3")]),
        ("notes.txt", "one two\n", [("one", "1"), ("two", "2")]),
    ],
)
def test_edits_that_have_nothing_in_common(path: str, text: str, steps: list[tuple[str, str]]) -> None:
    with pytest.raises(RefusedError):
        rule_behind(edits(path, text, *steps))
