"""What people complain of in copilots, a test each: a source with a cursor and a model's text in, what is shown out."""

from __future__ import annotations

import pytest

from completion.api import CompletionRequest, Level
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.fake import FakeEngine
from tests.cursor import at_cursor


async def shown(source: str, generated: str, *, level: Level = Level.BALANCED, path: str = "a.py") -> str:
    """What is offered at the cursor when the model says `generated`; empty: nothing."""
    text, offset = at_cursor(source)
    completer = EngineCompleter(FakeEngine(generated, logprob=-0.001), CompletionSettings(level=level))
    suggestions = await completer.complete(CompletionRequest(text=text, offset=offset, path=path))
    return suggestions[0].text if suggestions else ""


async def test_too_long() -> None:
    generated = "1\n" + "".join(f"y{number} = {number}\n" for number in range(50))
    assert await shown("x = ‸\n", generated) == "1"


async def test_too_much_in_a_block() -> None:
    generated = "".join(f"    y{number} = {number}\n" for number in range(50)).lstrip()
    assert (await shown("def f():\n    ‸\n", generated, level=Level.BALANCED)).count("\n") < 12


async def test_runs_on_into_the_next_function() -> None:
    assert await shown("def f():\n    ‸\n", "return 1\n\n\ndef g():\n    return 2\n") == "return 1"


@pytest.mark.parametrize(
    ("source", "generated", "expected"),
    [
        ("print(‸)\n", "total)\n", "total"),
        ("items[‸]\n", "0]\n", "0"),
        ("if ‸:\n    pass\n", "ready:\n    go()\n", "ready"),
        ("x = f(a, ‸)  # why\n", "b)  # why\n", "b"),
        ("def f():\n    ‸\n    return total\n", "total = 1\n    return total\n", "total = 1"),
        ("‸\nimport sys\n", "import sys\n", ""),
    ],
)
async def test_duplicated_suffix(source: str, generated: str, expected: str) -> None:
    assert await shown(source, generated) == expected


@pytest.mark.parametrize(
    ("source", "generated", "expected"),
    [
        ("if x:\n    ‸\n", " y = 1\n     z = 2\nw()", "y = 1\n    z = 2"),
        ("if x:\n\t‸\n", "while y:\n        z()\n", "while y:\n\t\tz()"),
        ("if x:\r\n    ‸\r\n", "y = 1\n    z = 2\nw()", "y = 1\r\n    z = 2"),
    ],
)
async def test_wrong_indentation_tabs_and_line_ends(source: str, generated: str, expected: str) -> None:
    assert await shown(source, generated) == expected


async def test_says_the_same_over_and_over() -> None:
    assert await shown("x = ‸\n", "amount.value + " * 20) == "amount.value"


async def test_nothing_to_add_is_left_alone() -> None:
    assert await shown("return total‸\n", "\n\ndef other():\n") == ""


async def test_fires_inside_a_word() -> None:
    assert await shown("to‸tal = 1\n", "xyz") == ""


async def test_unsure_guesses_are_shown() -> None:
    text, offset = at_cursor("x = ‸")
    completer = EngineCompleter(FakeEngine("guess", logprob=-9.0))
    assert await completer.complete(CompletionRequest(text=text, offset=offset)) == []
