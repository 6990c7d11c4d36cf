"""What the model writes into a hole, and what of it a docstring keeps: an answer in, a text out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from completion.refactor.calls import AddDocstring
from completion.refactor.carry_out import carry_out
from completion.refactor.filling import Filler
from completion.refactor.overlay import Overlay
from completion.refactor.plan import Hole
from completion.service import EngineCompleter
from model.fake import FakeEngine
from tests.completion.refactor.casefile import write_files

CODE = "def add(a, b):\n    return a + b\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('Add two numbers."""', "Add two numbers."),
        ('Add two numbers."""\n    c = a + b\n    return c', "Add two numbers."),
        ("Add two numbers.\n    c = a + b", "Add two numbers."),
        ('Add.\n\n    Both.\n    """\n    return', "Add.\n\n    Both.\n    "),
    ],
)
def test_a_docstring_ends_where_its_quotes_close(tmp_path: Path, answer: str, said: str) -> None:
    write_files(tmp_path, {"a.py": CODE})
    overlay, holes = Overlay(tmp_path), []

    def fill(hole: Hole) -> str:
        holes.append(hole)
        return answer

    carry_out(AddDocstring(symbol="add"), overlay, fill=fill)
    assert overlay.read("a.py") == CODE.replace(":\n", f':\n    """{said}"""\n', 1)
    assert holes[0].prefix.endswith('"""')
    assert holes[0].suffix.startswith("\n    return")


@pytest.mark.parametrize(
    ("rest", "written"),
    [(' of two numbers."""\n', "Add all of two numbers."), ('."""', ""), ("", "")],
)
def test_a_docstring_that_does_not_begin_begins_with_the_name(tmp_path: Path, rest: str, written: str) -> None:
    code = CODE.replace("add", "add_all")
    write_files(tmp_path, {"a.py": code})
    overlay = Overlay(tmp_path)
    outcome = carry_out(
        AddDocstring(symbol="add_all"), overlay, fill=lambda hole: rest if hole.prefix.endswith('"""Add all') else ""
    )
    assert outcome.done == bool(written)
    assert overlay.read("a.py") == (code.replace(":\n", f':\n    """{written}"""\n', 1) if written else code)


def test_a_module_is_named_by_its_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"pkg/read_all.py": CODE})
    openings: list[str] = []

    def fill(hole: Hole) -> str:
        openings.append(hole.prefix)
        return ""

    carry_out(AddDocstring(symbol="pkg/read_all.py"), Overlay(tmp_path), fill=fill)
    assert openings == ['"""', '"""Read all']


def test_no_docstring_without_words(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.py": CODE})
    outcome = carry_out(AddDocstring(symbol="add"), Overlay(tmp_path), fill=lambda _: '"""')
    assert "no text to write" in outcome.refused


async def test_where_nothing_is_likeliest_another_answer_is_taken() -> None:
    answers = iter(["", "", "total = sum(items)"])
    completer = EngineCompleter(FakeEngine(lambda _: next(answers)))
    hole = Hole(prefix="", suffix="\nprint(total)\n", path="a.py", language="python", instruction="add up")
    filled = await asyncio.to_thread(Filler(completer, asyncio.get_running_loop()), hole)
    assert filled.text == "total = sum(items)"
    assert filled.usage.completion_tokens > 0
