"""Changes as line edits: they make the text after, whatever the texts; extras fall where nothing else changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from completion.refactor.edits import LineEdit, applied, extra_edits, line_edits
from completion.refactor.outcome import Extra
from completion.refactor.tools.locals import name_at
from completion.refactor.worker import answer
from completion.refactor.worker_process import ask
from model.errors import InternalError, RefusedError, UsageError
from tests.cursor import at_cursor

LINES = ["a", "b", "", "é\U0001f600", "a = f(b)  # a", "c = f(b)  # a", "\ta = f(c, b)"]
TEXTS = st.lists(st.sampled_from(LINES), max_size=6).map("\n".join)


@given(TEXTS, TEXTS)
def test_edits_make_the_text_after(before: str, after: str) -> None:
    assert applied(before, line_edits(before, after)) == after


def test_extras_are_edits_of_the_text_before() -> None:
    before, after = "def one():\n    # one é one\n    return 1\n", "x = 1\ndef uno():\n    # one é one\n    return 1\n"
    extras = [
        Extra(
            path="a", line=3, start=after.index("é one") + 2, end=after.index("é one") + 5, new="uno", shown="", why="?"
        ),
        Extra(path="a", line=2, start=10, end=13, new="x", shown="", why="what was changed"),
    ]
    (edit,) = extra_edits(before, after, extras)
    assert edit.why == "?"
    assert applied(before, [*line_edits(before, after), edit]) == after.replace("é one", "é uno")


def test_an_extra_beside_a_change_in_its_line() -> None:
    before, after = "one()\nprint(one(), 1)  # one\n", "eleven()\nprint(eleven(), 1)  # one\n"
    start = after.index("# one") + 2
    extra = Extra(path="a", line=2, start=start, end=start + 3, new="eleven", shown="", why="?")
    (edit,) = extra_edits(before, after, [extra])
    sure = line_edits(before, after)
    assert [one.text for one in sure] == ["eleven", "eleven"]
    assert applied(before, [*sure, edit]) == after.replace("# one", "# eleven")


def test_lines_that_have_little_in_common_are_replaced_whole() -> None:
    before, after = "total = price * count\n", "total = self.sum_of(items)\n"
    (edit,) = line_edits(before, after)
    assert (edit.start_before, edit.end_before, edit.text) == ("", "", after)


NAMES = [
    ("def f(x):\n    y = x\n    return ‸y\n", "m.py::f.y"),
    ("def f(x‸):\n    return x\n", "m.py::f.x"),
    ("class A:\n    def ‸run(self): ...\n", "m.py::A.run"),
    ("LIMIT = 1\n\ndef f():\n    return LIM‸IT\n", "m.py::LIMIT"),
    ("import os\n\n‸os.getcwd()\n", "m.py::os"),
    ("a.b‸ar()\n", "bar"),
]


@pytest.mark.parametrize(("marked", "name"), NAMES)
def test_the_name_at_a_cursor(marked: str, name: str) -> None:
    text, offset = at_cursor(marked)
    assert name_at(text, "m.py", offset) == name


@pytest.mark.parametrize("marked", ["x = ‸1\n", "# no‸\n"])
def test_no_name_at_a_cursor(marked: str) -> None:
    text, offset = at_cursor(marked)
    with pytest.raises(RefusedError, match="no name"):
        name_at(text, "m.py", offset)


async def test_the_worker_answers_with_edits_of_buffers(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("on disk\n")
    (tmp_path / "n.py").write_bytes(b"from m import one\r\n\r\nprint(one())  # one\r\n")
    text = "def one():\r\n    return 1\r\n"
    request = {
        "root": str(tmp_path), "path": "m.py", "buffers": {"m.py": text}, "offset": text.index("one"),
        "call": {"name": "rename", "symbol": "@cursor", "new_name": "uno"},
    }  # fmt: skip
    reply = await answer(request)
    assert reply["report"]["status"] == "changed"
    first, second = reply["changes"]
    assert [(edit["start_before"], edit["text"]) for edit in first["edits"]] == [("def ", "uno")]
    sure, _, doubtful = second["edits"]
    assert [(edit["start_before"], edit["text"]) for edit in second["edits"]] == [
        ("from m import ", "uno"), ("print(", "uno"), ("print(one())  # ", "uno"),
    ]  # fmt: skip
    assert not sure["why"]
    assert doubtful["why"]
    assert (tmp_path / "m.py").read_text() == "on disk\n"


async def test_the_worker_as_a_process(tmp_path: Path) -> None:
    request = {
        "root": str(tmp_path), "path": "m.py", "buffers": {"m.py": "x = 1\n"},
        "call": {"name": "edit", "path": "m.py", "old": "1", "new": "2"},
    }  # fmt: skip
    reply = await ask(request)
    edit = LineEdit(start_line=0, start_before="x = ", end_line=0, end_before="x = 1", text="2")
    assert reply["changes"] == [{"path": "m.py", "created": False, "removed": False, "edits": [edit.as_json()]}]
    assert "no tool" in (await ask({**request, "call": {"name": "nothing"}}))["error"]
    with pytest.raises(UsageError, match="only looks"):
        await answer({**request, "call": {"name": "outline", "path": "m.py"}})


async def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dead = tmp_path / "dead.py"
    dead.write_text("raise SystemExit(3)\n")
    monkeypatch.setattr("completion.refactor.worker_process._DOOR", dead)
    with pytest.raises(InternalError, match="code 3"):
        await ask({})


async def test_a_process_that_is_not_waited_for_any_more_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """This is how a wish is cancelled."""
    waiting, told = tmp_path / "waiting.py", tmp_path / "pid"
    waiting.write_text(f"import os, pathlib, time\npathlib.Path({str(told)!r}).write_text(str(os.getpid()))\n"
                       "time.sleep(600)\n")  # fmt: skip
    monkeypatch.setattr("completion.refactor.worker_process._DOOR", waiting)
    asked = asyncio.ensure_future(ask({}))
    async with asyncio.timeout(20):
        while not told.exists() or not told.read_text():  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not psutil.pid_exists(int(told.read_text()))
