"""What a wish may be about: what it names, what holds the cursor, and what a look-up found without doubt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from completion.refactor.calls import Definition, FindSymbol
from completion.refactor.pieces import words
from completion.refactor.symbols import outline
from completion.refactor.targets import LOCAL, targets
from completion.refactor.tools.locals import variables
from completion.refactor.wish import Turn, View, Wish

PATH = "src/parser.py"
CODE = """LIMIT = 3


class Parser:
    def feed(self, data, limit):
        size = len(data)
        return size * limit

    def close(self):
        pass


def tokenize(text):
    return text.split()


def load(path):
    return tokenize(path)
"""
LINES = CODE.split("\n")
OUTLINE = outline(CODE, PATH)
EVERYTHING = ["LIMIT", "Parser", "Parser.feed", "Parser.close", "tokenize", "load"]


def about(instruction: str, *lines: int, turns: tuple[Turn, ...] = ()) -> list[str]:
    view = View(path=PATH, language="python", outline=OUTLINE)
    if lines:
        selected = "\n".join(LINES[lines[0] - 1 : lines[-1]])
        view = View(
            path=PATH, outline=OUTLINE, first_line=lines[0], last_line=lines[-1], selected=selected, language="python"
        )
    return [target.name for target in targets(Wish(instruction=instruction, view=view, turns=turns))]


@pytest.mark.parametrize(
    ("instruction", "lines", "expected"),
    [
        ("rename tokenize to split", (), ["tokenize"]),
        ("rename `Parser.feed` to eat", (), ["Parser.feed"]),
        ("rename feed() to eat.", (), ["Parser.feed"]),
        ("Load is a bad name, it is read", (), ["load"]),
        ("rename parser.Parser.close to end", (), ["Parser.close"]),
        ("rename the thing to that", (), EVERYTHING),
        ("rename this to eat", (13,), ["tokenize"]),
        ("rename this to eat", (9,), ["Parser", "Parser.close"]),
        ("inline this and rename load to read", (13,), ["tokenize", "load"]),
        ("document the tokenizer", (17,), ["tokenize", "load"]),
        ("inline size", (6,), ["Parser", "Parser.feed", "Parser.feed.size"]),
    ],
)
def test_a_wish_is_about_what_it_names_and_what_holds_the_cursor(
    instruction: str, lines: tuple[int, ...], expected: list[str]
) -> None:
    assert about(instruction, *lines) == expected


def test_a_target_knows_its_parameters_and_the_names_beside_it() -> None:
    view = View(path=PATH, outline=OUTLINE, first_line=6, last_line=6, selected=LINES[5])
    found = {target.name: target for target in targets(Wish(instruction="feed size", view=view))}
    assert found["Parser.feed"].parameters == ("data", "limit")
    assert found["Parser.feed"].taken == {"close"}
    assert found["Parser"].parameters is None
    assert found["Parser"].taken == {"LIMIT", "tokenize", "load"}
    assert found["Parser.feed.size"].kind == LOCAL
    assert {"data", "limit", "len"} <= found["Parser.feed.size"].taken
    assert found["Parser.feed.size"].short == "size"


def test_of_many_symbols_those_that_are_shown_are_meant() -> None:
    code = "\n\n".join(f"def f{number}(): pass" for number in range(60))
    many = outline(code, PATH)
    wish = Wish(instruction="tidy that up", view=View(path=PATH, outline=many))
    assert len(targets(wish)) == 16


ONE = "function src/lexer.py::read(state) lines 4-9"
TWO = f"{ONE}\nfunction src/file.py::read(path) lines 1-3"


@pytest.mark.parametrize(
    ("instruction", "result", "expected"),
    [
        ("rename read to scan", ONE, ["src/lexer.py::read"]),
        ("rename read to scan", TWO, []),
        ("rename read to scan in src/file.py", TWO, ["src/file.py::read"]),
        ("rename read to scan, the one of lexer.py", TWO, ["src/lexer.py::read"]),
        ("rename read to scan", "There is no symbol read.", []),
    ],
)
def test_what_a_look_up_leaves_open_is_not_acted_on(instruction: str, result: str, expected: list[str]) -> None:
    turn = Turn(calls=(FindSymbol(symbol="read"),), results=(result,))
    assert [target.name for target in targets(Wish(instruction=instruction, turns=(turn,)))] == expected


def test_other_looks_leave_nothing_open() -> None:
    turn = Turn(calls=(Definition(symbol="read"),), results=(TWO,))
    assert len(targets(Wish(instruction="rename it", turns=(turn,)))) == 2


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("rename limit to most", ["Parser.feed", "Parser.feed.limit"]),
        ("rename the parameter limit of feed to most", ["Parser.feed", "Parser.feed.limit"]),
        ("rename size to count in feed", ["Parser.feed", "Parser.feed.size"]),
        ("rename size to count", ["Parser.feed", "Parser.feed.size"]),
        ("rename load to size", ["load"]),
        ("rename path and text to a and b", ["tokenize", "load", "tokenize.text", "load.path"]),
    ],
)
def test_variables_and_parameters_can_be_named(instruction: str, expected: list[str]) -> None:
    inner = variables(CODE, PATH, words(instruction))
    view = View(path=PATH, language="python", outline=OUTLINE, variables=inner)
    assert [target.name for target in targets(Wish(instruction=instruction, view=view))] == expected


def test_variables_have_the_names_of_their_functions() -> None:
    code = "x = 1\n\n\ndef f(a):\n    b = [c for c in a]\n\n    def g(a):\n        b = x\n"
    named = ("a", "b", "c", "x", "g", "zz")
    assert variables(code, "a.py", named) == ("f.a", "f.g.a", "f.b", "f.g.b", "f.c")
    assert variables(code, "a.txt", named) == ()


def test_who_says_a_variable_does_not_mean_its_function() -> None:
    view = View(
        path=PATH, language="python", outline=OUTLINE, first_line=6, last_line=6, selected=LINES[5],
        variables=("Parser.feed.size",),
    )  # fmt: skip
    aside = {target.name: target.aside for target in targets(Wish(instruction="rename size to count", view=view))}
    assert aside == {"Parser": False, "Parser.feed": True, "Parser.feed.size": False}
    both = Wish(instruction="rename feed to eat and size to count", view=view)
    assert not any(target.aside for target in targets(both))
    words_of_a_comment = replace(view, selected="# what is this size?", variables=())
    assert not any(target.aside for target in targets(Wish(instruction="rename this to size", view=words_of_a_comment)))


@pytest.mark.parametrize(
    ("row", "parameters"),
    [
        ("method src/io.py::Reader.read(self, size, *rest) lines 3-9", ("size", "rest")),
        ("function src/io.py::read() lines 3-9", ()),
        ("class src/io.py::Reader lines 3-9", None),
        ("src/io.py::Reader.read:3", None),
    ],
)
def test_what_was_found_has_the_parameters_that_were_shown(row: str, parameters: tuple[str, ...] | None) -> None:
    turn = Turn(calls=(FindSymbol(symbol="read"),), results=(row,))
    (found,) = targets(Wish(instruction="drop size of read", turns=(turn,)))
    assert found.parameters == parameters
