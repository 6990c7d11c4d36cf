"""What an editor's language server renames enters the overlay like any other change: checked, and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from completion.refactor.calls import Edit, Rename
from completion.refactor.carry_out import carry_out
from completion.refactor.overlay import Overlay
from completion.refactor.plan import Fixed
from completion.refactor.renamer import Question
from completion.refactor.session import Session, Unit
from tests.completion.refactor.casefile import write_files

FILES = {
    "a.py": "é = '\U0001f600'; area = 1\nprint(area)  # area\n__all__ = ['area']\n",
    "b.py": "from a import area\r\n\r\nprint(area)\r\n",
    "main.rb": "def area\n  1\nend\n\narea\n",
    "Shape.java": "class Shape {\n  int area() { return 1; }\n}\n",
    "Use.java": "class Use {\n  int two(Shape s) { return 2 * s.area(); }\n}\n",
}
CALL = Rename(symbol="area", new_name="size")
IN_A = {"a.py": [(0, {"utf-8": 13, "utf-16": 10, "utf-32": 9}), (1, 6)]}
IN_B = {"b.py": [(0, 14), (2, 6)]}


def answer(encoding: str, *files: Mapping[str, Any], old: str = "area") -> dict[str, Any]:
    """What an editor says: the places of a name, as its language server has them."""
    edits = []
    for path, places in [item for each in files for item in each.items()]:
        for line, column in places:
            start = column[encoding] if isinstance(column, dict) else column
            edits.append({"path": path, "start": [line, start], "end": [line, start + len(old)], "text": "size"})
    return {"encoding": encoding, "edits": edits}


class Editor:
    """A `Renamer` with one answer, which remembers what it was asked."""

    def __init__(self, said: Mapping[str, Any] | None) -> None:
        self.said = said
        self.asked: list[Question] = []

    def __call__(self, question: Question) -> Mapping[str, Any] | None:
        """The answer."""
        self.asked.append(question)
        return self.said


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    write_files(tmp_path, FILES)
    return Overlay(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_its_edits_are_the_change(overlay: Overlay, encoding: str) -> None:
    editor = Editor(answer(encoding, IN_A, IN_B))
    outcome = carry_out(CALL, overlay, prefer="a.py", renamer=editor)
    assert outcome.refused == ""
    assert editor.asked == [Question(path="a.py", line=0, before="é = '\U0001f600'; ", new_name="size")]
    assert overlay.read("a.py") == "é = '\U0001f600'; size = 1\nprint(size)  # area\n__all__ = ['size']\n"
    assert overlay.read("b.py") == "from a import size\n\nprint(size)\n"
    assert outcome.notes == ("Renamed by the editor's language server.",)
    assert [(one.path, one.line) for one in outcome.extras] == [("a.py", 2)]


def test_where_it_has_no_answer_our_own_tools_rename(overlay: Overlay) -> None:
    for said in (None, {"encoding": "utf-16", "edits": []}, answer("utf-16", {"a.py": [(1, 6)]}, IN_B),
                 answer("utf-16", {"a.py": [(0, 10), (0, 0)]})):  # fmt: skip
        mark = overlay.mark()
        outcome = carry_out(CALL, overlay, prefer="a.py", renamer=Editor(said))
        assert outcome.notes == ()
        assert set(outcome.changed) == {"a.py", "b.py"}
        overlay.rollback(mark)


def test_what_it_breaks_is_rolled_back(overlay: Overlay) -> None:
    outcome = carry_out(CALL, overlay, prefer="a.py", renamer=Editor(answer("utf-16", IN_A)))
    assert "b.py" in outcome.refused
    assert overlay.changes() == ()


def test_languages_that_nobody_else_can_follow(overlay: Overlay) -> None:
    outcome = carry_out(Rename(symbol="main.rb::area", new_name="size"), overlay)
    assert "cannot be followed" in outcome.refused
    editor = Editor(answer("utf-8", {"main.rb": [(0, 4), (4, 0)]}))
    outcome = carry_out(Rename(symbol="main.rb::area", new_name="size"), overlay, renamer=editor)
    assert outcome.changed == ("main.rb",)
    assert overlay.read("main.rb") == "def size\n  1\nend\n\nsize\n"


def test_other_files_that_our_scopes_do_not_reach(overlay: Overlay) -> None:
    editor = Editor(answer("utf-16", {"Shape.java": [(1, 6)], "Use.java": [(1, 34)]}))
    outcome = carry_out(Rename(symbol="Shape.area", new_name="size"), overlay, renamer=editor)
    assert outcome.changed == ("Shape.java", "Use.java")
    assert "s.size()" in overlay.read("Use.java")


def test_it_reaches_out_of_the_workspace(overlay: Overlay) -> None:
    editor = Editor(answer("utf-16", IN_A, IN_B, {"": [(0, 0)]}))
    outcome = carry_out(CALL, overlay, prefer="a.py", renamer=editor)
    assert "outside of the workspace" in outcome.refused
    assert overlay.changes() == ()


def test_a_name_that_is_taken_is_not_asked_for(overlay: Overlay) -> None:
    overlay.write("a.py", "area = 1\nsize = 2\n")
    editor = Editor(None)
    assert "There is a size already" in carry_out(CALL, overlay, prefer="a.py", renamer=editor).refused
    assert editor.asked == []


async def test_it_is_asked_while_its_texts_are_ours(overlay: Overlay) -> None:
    editor = Editor(answer("utf-16", {"a.py": [(0, 10), (1, 6)]}, IN_B))
    calls = (Edit(path="main.rb", old="  1", new="  2"), CALL)
    report = await Session(overlay.root, Fixed(calls), renamer=editor).run(Unit(path="a.py"), "both")
    assert (report.status, editor.asked) == ("changed", [])
