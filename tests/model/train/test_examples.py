"""Examples are the very prompts that serving sends, with the answer behind them."""

from __future__ import annotations

import random

import pytest

from model.errors import UsageError
from model.fim import Snippet, render
from model.train.corpus import SourceFile
from model.train.cuts import CutKind
from model.train.definitions import Definitions
from model.train.examples import Budgets, Example, ExampleMaker, first_lines, last_lines
from tests.model.train.tiny_corpus import CONTROL, MAIN, encode

END, FILE, SUFFIX, PREFIX = (256 + CONTROL.index(name) for name in ("<|endoftext|>", *CONTROL[1:]))
WIDE = Budgets(prefix_chars=(5000, 5001), suffix_chars=(5000, 5001), long_share=0, no_suffix_share=0, no_path_share=0)


def make(corpus: list[SourceFile], count: int = 150, budgets: Budgets | None = None) -> list[Example]:
    maker = ExampleMaker(corpus, encode=encode, seed=3, budgets=budgets)
    return [maker.make(index) for index in range(count)]


def split(tokens: tuple[int, ...]) -> list[tuple[int, str]]:
    """Control token and the text behind it, in order."""
    parts: list[tuple[int, list[int]]] = []
    for token in tokens:
        if token >= 256:
            parts.append((token, []))
        else:
            parts[-1][1].append(token)
    return [(control, bytes(text).decode()) for control, text in parts]


def test_the_prompt_is_what_serving_renders(corpus: list[SourceFile]) -> None:
    """To the token: the whole file around the hole, laid out by `render`, then the middle and the end token."""
    by_path = {file.path: file for file in corpus}
    for example in make(corpus, budgets=WIDE):
        parts = split(example.tokens[: example.answer])
        path = parts[-1][1].split("\n", 1)[0]
        text, cut = by_path[path].text, example.cut
        snippets = [Snippet(*shown[:-1].split("\n", 1)) for control, shown in parts if control == FILE]
        prompt = render("tersely", prefix=text[: cut.start], suffix=text[cut.end :], path=path, snippets=snippets)
        assert list(example.tokens[: example.answer]) == encode(prompt)
        assert list(example.tokens[example.answer :]) == [*text[cut.start : cut.end].encode(), END]


def test_snippets_then_suffix_then_prefix_with_the_cursor_last(corpus: list[SourceFile]) -> None:
    for example in make(corpus):
        controls = [control for control, _ in split(example.tokens[: example.answer])]
        assert controls == [FILE] * (len(controls) - 2) + [SUFFIX, PREFIX]


def test_an_example_depends_on_its_number_alone(corpus: list[SourceFile]) -> None:
    forward = make(corpus, 30)
    maker = ExampleMaker(corpus, encode=encode, seed=3)
    assert [maker.make(index) for index in reversed(range(30))][::-1] == forward
    other = ExampleMaker(corpus, encode=encode, seed=4)
    assert [other.make(index) for index in range(30)] != forward


def test_empty_middles_are_answered_by_the_end_token_alone(corpus: list[SourceFile]) -> None:
    empty = [example for example in make(corpus, 400) if example.cut.kind is CutKind.EMPTY]
    assert empty
    assert all(example.tokens[example.answer :] == (END,) for example in empty)


def test_budgets_vary_and_hold(corpus: list[SourceFile]) -> None:
    budgets = Budgets(prefix_chars=(20, 120), suffix_chars=(10, 60), long_share=0, no_suffix_share=0.2)
    prefixes, suffixes = set(), []
    for example in make(corpus, 200, budgets):
        parts = dict(split(example.tokens[: example.answer]))
        prefixes.add(len(parts[PREFIX].split("\n", 1)[1]))
        suffixes.append(len(parts[SUFFIX]))
    assert max(prefixes) <= 120
    assert len(prefixes) > 20
    assert max(suffixes) <= 60
    assert 0.1 < suffixes.count(0) / len(suffixes) < 0.5


def test_snippets_hold_what_the_middle_uses_among_others(corpus: list[SourceFile]) -> None:
    examples = [example for example in make(corpus, 300) if "main.py" in str(split(example.tokens)[-2][1])]
    helped = 0
    for example in examples:
        shown = "".join(text for control, text in split(example.tokens[: example.answer]) if control == FILE)
        middle = MAIN[example.cut.start : example.cut.end]
        helped += "total_area" in middle and "def total_area(shapes: list[Circle]" in shown
        assert "main.py\n" not in shown
    assert helped > 5


def test_a_share_of_examples_has_no_snippets(corpus: list[SourceFile]) -> None:
    budgets = Budgets(snippets_share=0.0)
    assert all(FILE not in example.tokens for example in make(corpus, 50, budgets))
    with_snippets = sum(FILE in example.tokens for example in make(corpus, 300))
    assert 0.3 < with_snippets / 300 < 0.7  # 2 / 3, less those of a package with one file


def test_definitions_are_headers_with_what_is_indented_below(corpus: list[SourceFile]) -> None:
    definitions = Definitions(corpus, max_chars=170)
    assert definitions.used(corpus[1], "print(total_area(x))") == [
        Snippet(
            "shapes.py",
            "def total_area(shapes: list[Circle], *, rounded: bool = False) -> float:\n    total = 0.0\n"
            "    for shape in shapes:\n        total += shape.area()",
        )
    ]
    assert definitions.used(corpus[0], "total_area(x)") == []
    assert definitions.others(corpus[2], 3, random.Random(0)) == []


@pytest.mark.parametrize(
    ("limit", "expected"), [(100, "one\ntwo\nthree"), (9, "three"), (3, "ree"), (10, "two\nthree"), (0, "")]
)
def test_last_lines(limit: int, expected: str) -> None:
    assert last_lines("one\ntwo\nthree", limit) == expected


@pytest.mark.parametrize(("limit", "expected"), [(100, "one\ntwo\n"), (6, "one\n"), (2, "on"), (0, "")])
def test_first_lines(limit: int, expected: str) -> None:
    assert first_lines("one\ntwo\n", limit) == expected


def test_a_corpus_without_a_place_for_a_cursor_says_so() -> None:
    maker = ExampleMaker([SourceFile("void", "void.py", "python", "\n" * 50)], encode=encode, seed=0)
    with pytest.raises(UsageError, match="no place for a cursor"):
        [maker.make(index) for index in range(5)]
