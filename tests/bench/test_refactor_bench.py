"""The end-to-end bench: what it asks is right by its own tools, and its measures see what happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.refactor.__main__ import Done, by_tools, measure
from bench.refactor.peers import by_free_editing, by_rope
from bench.refactor.wishes import ACTS, DECLINES, Task, make_tasks, outcome
from completion.refactor.calls import AnyCall, Decline, ExtractFunction, OrganizeImports, Rename
from completion.refactor.symbols import outline
from completion.refactor.training.scene import Source
from completion.refactor.wish import View, Wish
from model.fake import FakeEngine

SHAPES = """import os
import math


def area(width, height):
    scaled = width * height
    rounded = math.floor(scaled)
    return rounded


def double(width):
    return area(width, 2)


def triple(width):
    size = area(width, 3)
    print("tripled", "thrice")
    other = size + 1
    again = double(other)
    return again
"""
TEXT = """from shapes import area


def show(value):
    print(area(value, value))
    print('shown')


def hide(value):
    pass
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "paint").mkdir()
    (tmp_path / "paint" / "shapes.py").write_text(SHAPES)
    (tmp_path / "paint" / "text.py").write_text(TEXT)
    return tmp_path / "paint"


def task(root: Path, kind: str, *calls: AnyCall) -> Task:
    view = View(path="shapes.py", language="python", outline=outline(SHAPES, "shapes.py"))
    after = {} if isinstance(calls[0], Decline) else outcome(calls, root, prefer="shapes.py")
    return Task(kind, "paint", root, Wish(instruction="go", view=view), calls, after)


RENAME = Rename(symbol="double", new_name="twice")
SAID = 'rename {"symbol":"double","new_name":"twice"}'


async def test_a_right_plan_is_exact(root: Path) -> None:
    done = await by_tools(FakeEngine(SAID), task(root, "rename", RENAME))  # type: ignore[arg-type]
    assert done.exact
    assert not done.broken
    assert done.after["shapes.py"] == SHAPES.replace("double", "twice")


async def test_another_plan_is_not(root: Path) -> None:
    other = 'rename {"symbol":"triple","new_name":"twice"}'
    done = await by_tools(FakeEngine(other), task(root, "rename", RENAME))  # type: ignore[arg-type]
    assert done.after
    assert not done.exact


async def test_declining_changes_nothing(root: Path) -> None:
    said = 'decline {"reason":"No."}'
    done = await by_tools(FakeEngine(said), task(root, "chat", Decline(reason="This is not a refactoring.")))  # type: ignore[arg-type]
    assert done.declined
    assert done.exact
    figures = measure([done, Done(task=task(root, "rename", RENAME), after={"shapes.py": "def ("})])
    assert figures["rightly_declined"]["share"] == 1.0
    assert figures["exact_diff"]["share"] == 0.0
    assert figures["other_change"]["share"] == 1.0
    assert figures["broken_files"] == 1


@pytest.mark.parametrize(
    "call",
    [
        RENAME,
        ExtractFunction(path="shapes.py", first_line=6, last_line=7, new_name="measure"),
        OrganizeImports(path="shapes.py"),
    ],
)
def test_rope_does_what_it_is_told(root: Path, call: AnyCall) -> None:
    own = by_rope(task(root, "act", call))
    assert own is not None
    assert "shapes.py" in own


def test_rope_has_no_command_for_declining(root: Path) -> None:
    assert by_rope(task(root, "chat", Decline(reason="No."))) is None


async def test_free_editing_replaces_the_definition(root: Path) -> None:
    engine = FakeEngine("def twice(width):\n    return area(width, 2)\n```")
    found = await by_free_editing(engine, task(root, "rename", RENAME))
    assert found is not None
    assert found[0] == {"shapes.py": SHAPES.replace("def double", "def twice")}  # the definition alone


def test_the_wishes_are_always_the_same(root: Path) -> None:
    sources = [Source("paint", path, "python", text) for path, text in (("shapes.py", SHAPES), ("text.py", TEXT))]
    first = list(make_tasks(sources, root.parent, share=0.1))
    assert [one.wish for one in first] == [one.wish for one in make_tasks(sources, root.parent, share=0.1)]
    assert {one.kind for one in first} >= {"rename", "chat", "organize_imports"}
    assert all(one.after for one in first if one.kind in ACTS)
    assert not any(one.after for one in first if one.kind in DECLINES)


def test_there_are_enough_wishes() -> None:
    assert sum(ACTS.values()) + sum(DECLINES.values()) >= 60
