"""`tersely/rename`: an editor that says so is asked what its own language server renames, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from tests.lsp.client import Editor, plain
from tests.lsp.test_refactor import Workspace, able, edits_of

CALL = {"name": "rename", "symbol": "area", "new_name": "surface"}
THEIRS = "Renamed by the editor's language server."


class Renaming(Workspace):
    """An editor whose language server has an answer."""

    def __init__(self, editor: Editor, root: Path) -> None:
        super().__init__(editor, root)
        self.answer: Any = None
        self.asked: list[Any] = []

        @editor.client.feature("tersely/rename")
        def rename(params: Any) -> Any:
            self.asked.append(plain(params))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    def change(self, *places: tuple[int, int], uri: str | None = None) -> dict[str, Any]:
        """Edits of `area` at places of a file."""
        edits = [
            {
                "range": {
                    "start": {"line": line, "character": column},
                    "end": {"line": line, "character": column + len("area")},
                },
                "newText": "surface",
            }
            for line, column in places
        ]
        return {"uri": uri or self.uri, "edits": edits}


@pytest.fixture
def renaming(editor: Editor, tmp_path: Path) -> Renaming:
    return Renaming(editor, tmp_path)


def announced(*, rename: bool = True) -> types.ClientCapabilities:
    can = able()
    can.experimental = {"tersely": {"rename": rename}}
    return can


async def test_the_editors_language_server_renames(renaming: Renaming) -> None:
    (renaming.root / "b.py").write_text("from a import area\n")
    await renaming.start(announced())
    other = renaming.change((0, 14), uri=(renaming.root / "b.py").as_uri())
    renaming.answer = {"positionEncoding": "utf-16", "changes": [renaming.change((3, 4), (8, 6)), other]}
    report = await renaming.command(call=CALL)
    assert (report["applied"], report["changed"], report["notes"]) == (True, ["a.py", "b.py"], [THEIRS])
    assert renaming.asked == [
        {"textDocument": {"uri": renaming.uri}, "position": {"line": 3, "character": 4}, "newName": "surface"}
    ]
    (params,) = renaming.applied
    texts = [text for text, annotation in edits_of(params.edit) if annotation is None]
    assert texts == ["surface"] * 3


async def test_columns_are_asked_for_in_the_editors_units(renaming: Renaming) -> None:
    await renaming.start(announced())
    # `s` behind an emoji: two units of UTF-16, a single character
    renaming.answer = None
    report = await renaming.command(call={"name": "rename", "symbol": "area.s", "new_name": "product"})
    assert report["applied"] is True
    assert [one["position"] for one in renaming.asked] == [{"line": 4, "character": 14}]


@pytest.mark.parametrize(
    "answer",
    [None, {"changes": []}, {"changes": "nothing"}, {}, {"changes": [{"uri": 3, "edits": None}]}, RuntimeError("no")],
)
async def test_without_an_answer_our_own_tools_rename(renaming: Renaming, answer: Any) -> None:
    await renaming.start(announced())
    renaming.answer = answer
    report = await renaming.command(call=CALL)
    assert (report["applied"], report["notes"]) == (True, [])
    assert len(renaming.asked) == 1


async def test_an_editor_that_did_not_announce_it_is_not_asked(renaming: Renaming) -> None:
    await renaming.start(announced(rename=False))
    report = await renaming.command(call=CALL)
    assert (report["applied"], report["notes"], renaming.asked) == (True, [], [])


async def test_edits_outside_of_the_workspace_are_refused(renaming: Renaming, tmp_path_factory: Any) -> None:
    await renaming.start(announced())
    outside = (tmp_path_factory.mktemp("other") / "c.py").as_uri()
    renaming.answer = {"changes": [renaming.change((3, 4)), renaming.change((0, 0), uri=outside)]}
    report = await renaming.command(call=CALL)
    assert (report["applied"], renaming.applied) == (False, [])
    assert "outside of the workspace" in report["reason"]
