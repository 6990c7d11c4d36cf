"""Suggestions that still hold, by the text around the cursor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from completion.api import CompletionRequest, CompletionTimings, Suggestion
from completion.cache import SuggestionCache
from completion.generation import NO_USAGE
from tests.cursor import at_cursor


def request_at(source: str, path: str = "a.py") -> CompletionRequest:
    text, offset = at_cursor(source)
    return CompletionRequest(text=text, offset=offset, path=path)


def suggestion_at(request: CompletionRequest, text: str) -> Suggestion:
    return Suggestion(
        text=text,
        start=request.offset,
        end=request.offset,
        stop_reason="eos",
        confidence=0.5,
        model="m",
        usage=NO_USAGE,
        timings=CompletionTimings(),
    )


def held(cache: SuggestionCache, source: str, path: str = "a.py") -> str | None:
    found = cache.advance(request_at(source, path))
    return None if found is None else found.text


def remembering(source: str, text: str) -> SuggestionCache:
    cache = SuggestionCache()
    cache.remember(request_at(source), suggestion_at(request_at(source), text))
    return cache


def test_typed_along_and_back() -> None:
    cache = remembering("x = 1\n‸\ny = 2\n", "return value")
    assert held(cache, "x = 1\nre‸\ny = 2\n") == "turn value"
    assert held(cache, "x = 1\n‸\ny = 2\n") == "return value"
    assert held(cache, "x = 1\nreturn value‸\ny = 2\n") is None
    assert held(cache, "x = 1\nra‸\ny = 2\n") is None
    assert held(cache, "x = 1\n‸\ny = 2\n", path="b.py") is None


def test_a_suggestion_moves_with_its_lines() -> None:
    far = "z = 0\n" * 400
    cache = remembering(far + "x = 1\n‸\n", "return value")
    assert held(cache, "import os\n" + far + "x = 1\nret‸\n") == "urn value"


def test_nothing_is_remembered_too() -> None:
    cache = remembering("x = 1‸\n", "")
    assert held(cache, "x = 1‸\n") == ""
    assert held(cache, "x = 12‸\n") is None


def test_the_newest_of_two_for_the_same_place_holds() -> None:
    cache = remembering("x‸\n", " = 1")
    cache.remember(request_at("x‸\n"), suggestion_at(request_at("x‸\n"), " = 2"))
    assert held(cache, "x‸\n") == " = 2"


def test_forgetting() -> None:
    cache = remembering("x‸\n", " = 1")
    cache.forget("b.py")
    assert held(cache, "x‸\n") == " = 1"
    cache.forget("a.py")
    assert held(cache, "x‸\n") is None
    cache = remembering("x‸\n", " = 1")
    cache.clear()
    assert held(cache, "x‸\n") is None


def test_what_was_foretold_right_is_surer() -> None:
    cache = SuggestionCache()
    request = request_at("x = ‸\n")
    cache.remember(request, replace(suggestion_at(request, "first.second"), later=((5, 0.4), (6, 0.9), (9, 0.3))))
    found = [cache.advance(request_at(f"x = {'first.second'[:typed]}‸\n")) for typed in (0, 4, 5, 6, 8, 9)]
    assert [one.confidence for one in found if one] == [0.5, 0.5, 0.5, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(
    ("said", "source", "left"),
    [
        ("(total) + 1", "x = f(‸)\n", "total"),
        ("(total) + 1", "x = f(to‸)\n", "tal"),
        ("(total) + 1", "x = f(total‸)\n", ""),
        ("(total) + 1", "x = f(total)‸\n", " + 1"),
        ("() == 1", "x = f(‸)\n", ""),
        ("(g[key], 1)", "x = f(g[‸])\n", "key"),
        ("(g[key], 1)", "x = f(g[key]‸)\n", ", 1"),
        ('("a", b)', 'x = f("‸")\n', "a"),
        ('("a", b)', 'x = f("a"‸)\n', ", b"),
        ("(\n    a,\n)", "x = f(‸)\n", "\n    a,\n"),
        ("(total", "x = f(‸)\n", None),
        ("(total )", "x = f(total‸)\n", ""),
        ("(total) + 1", "x = f‸)\n", None),
    ],
)
def test_typed_along_while_the_editor_closes_brackets(said: str, source: str, left: str | None) -> None:
    assert held(remembering("x = f‸\n", said), source) == left


@pytest.mark.parametrize(
    ("source", "confidence"),
    [
        ("width = 1\nreturn ‸\n", 0.1),
        ("width = 1\nreturn widt‸\n", 0.1),
        ("width = 1\nreturn widt ‸\n", 0.6),
        ("widt = 1\nreturn widt‸\n", 0.6),
    ],
)
def test_that_a_new_word_ends_is_not_foretold_by_its_characters(source: str, confidence: float) -> None:
    cache = SuggestionCache()
    start = request_at(source.splitlines()[0] + "\nreturn ‸\n")
    cache.remember(start, replace(suggestion_at(start, "widt * height"), confidence=0.1, later=((4, 0.6),)))
    found = cache.advance(request_at(source))
    assert found is not None
    assert found.confidence == confidence
