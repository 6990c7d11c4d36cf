"""Two edits alike, made by hand: the third is offered, and so is keeping the rule behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp.documents import Document, Documents
from lsp.positions import Place
from lsp.recent_edits import RecentEdits
from tests.lsp.client import Editor
from tests.lsp.test_refactor import able

TEXT = "def f(a, b, c):\n    x = a == None\n    y = b == None\n    return c == None, x, y\n"
EVERYWHERE, SAVE = "Make the last two edits everywhere", "Save the last two edits as a rule"


class Hand:
    """Somebody who edits documents, of whom it is remembered what they did."""

    def __init__(self, *texts: str, root: str = "/w") -> None:
        self.documents = Documents()
        self.documents.change_roots(added=[f"file://{root}"], removed=[])
        self.recent = RecentEdits()
        self.open = [
            self.documents.open(f"file://{root}/{number}.py", language_id="python", version=1, text=text)
            for number, text in enumerate(texts)
        ]

    def put(self, old: str, new: str, *, at: int = 0) -> None:
        """Replace the first of a text, as one change."""
        document = self.open[at]
        before = document.buffer.text
        start = before.index(old)
        first, last = document.buffer.place(start), document.buffer.place(start + len(old))
        document.buffer.replace(first, last, new)
        self.recent.changed(document, before=before, first=first.line, last=last.line, text=new)

    def type(self, behind: str, text: str) -> None:
        """One character after the other."""
        for number, character in enumerate(text):
            done = behind + text[:number]
            self.put(done, done + character)

    @property
    def alike(self) -> list[tuple[str, str]]:
        """The texts before and after, of edits that are alike."""
        return [(one.before, one.after) for one in self.recent.alike(self.open[0])]


def test_two_edits_alike() -> None:
    hand = Hand(TEXT)
    hand.put("a == None", "a is None")
    assert hand.alike == []
    between = TEXT.replace("a ==", "a is")
    hand.put("b == None", "b is None")
    after = between.replace("b ==", "b is")
    assert hand.alike == [(TEXT, between), (between, after)]


def test_keys_belong_together() -> None:
    hand = Hand("a()\nb()\nc()\n")
    hand.type("a(", "1, 2")
    hand.type("b(", "1, 2")
    assert hand.alike == [
        ("a()\nb()\nc()\n", "a(1, 2)\nb()\nc()\n"),
        ("a(1, 2)\nb()\nc()\n", "a(1, 2)\nb(1, 2)\nc()\n"),
    ]


def test_edits_that_add_and_take_lines() -> None:
    text = "if a:\n    go()\nif b:\n    go()\n"
    hand = Hand(text)
    hand.put("if a:\n    go()", "a and go()")
    hand.put("if b:\n    go()", "b and go()")
    assert hand.alike[1][1] == "a and go()\nb and go()\n"
    hand = Hand(text)
    hand.put("if a:", "if a:\n    stop()")
    hand.type("    stop()", ";")
    hand.put("if b:", "if b:\n    stop();")
    assert hand.alike[0][0] == text


def test_two_documents_of_one_workspace() -> None:
    hand = Hand("a == None\n", "b == None\n")
    hand.put("==", "is", at=0)
    hand.put("==", "is", at=1)
    assert hand.alike == [("a == None\n", "a is None\n"), ("b == None\n", "b is None\n")]


@pytest.mark.parametrize("steps", [[("a", "a + 1"), ("b == None", "b + 2 == None")], [("x", "x"), ("y", "y")]])
def test_edits_that_differ_or_change_nothing(steps: list[tuple[str, str]]) -> None:
    hand = Hand(TEXT)
    for old, new in steps:
        hand.put(old, new)
    assert hand.alike == []


def test_what_was_undone_does_not_count() -> None:
    hand = Hand(TEXT)
    hand.put("a == None", "a is None")
    hand.put("a is None", "a == None")
    hand.put("b == None", "b is None")
    assert hand.alike == []
    hand.put("c == None", "c is None")
    assert len(hand.alike) == 2


def test_other_workspaces_and_commands() -> None:
    hand = Hand(TEXT)
    hand.put("a == None", "a is None")
    hand.put("b == None", "b is None")
    other = Document(uri="x", language_id="python", buffer=hand.open[0].buffer, path="x.py", root="/other")
    assert hand.recent.alike(other) == []
    hand.recent.forget()
    assert hand.alike == []
    assert hand.open[0].buffer.place(0) == Place(0, 0)


async def edited(editor: Editor, root: Path) -> Any:
    """An editor in which the same was done twice; how to ask for actions."""
    (root / "b.py").write_text("print(z == None)\n")
    uri = (root / "a.py").as_uri()
    await editor.start(capabilities=able(), folders=(root.as_uri(),))
    editor.open(TEXT, uri=uri)

    async def actions() -> dict[str, Any]:
        span = types.Range(types.Position(3, 0), types.Position(3, 0))
        params = types.CodeActionParams(types.TextDocumentIdentifier(uri), span, types.CodeActionContext([]))
        return {one.title: one for one in await editor.client.text_document_code_action_async(params) or []}

    editor.edit(1, 10, 12, "is", uri=uri)
    assert EVERYWHERE not in await actions()
    editor.edit(2, 10, 12, "is", uri=uri)
    return actions, uri


async def test_the_third_edit_is_offered(editor: Editor, tmp_path: Path) -> None:
    actions, uri = await edited(editor, tmp_path)
    offered = (await actions())[EVERYWHERE]
    resolved = await editor.client.code_action_resolve_async(offered)
    changes = {one.text_document.uri: one.edits for one in resolved.edit.document_changes}
    assert set(changes) == {uri, (tmp_path / "b.py").as_uri()}
    [edit] = changes[uri]
    assert (edit.range.start.line, edit.new_text) == (3, "is")
    assert edit.annotation_id is not None, "to be looked at first"


async def test_the_rule_can_be_kept(editor: Editor, tmp_path: Path) -> None:
    actions, _ = await edited(editor, tmp_path)
    resolved = await editor.client.code_action_resolve_async((await actions())[SAVE])
    made, written = resolved.edit.document_changes
    assert made.uri.startswith((tmp_path / ".tersely" / "rules").as_uri())
    [edit] = written.edits
    assert "pattern: $A == None" in edit.new_text
    assert "fix: $A is None" in edit.new_text


async def test_it_is_not_offered_for_long(editor: Editor, tmp_path: Path) -> None:
    actions, uri = await edited(editor, tmp_path)
    offered = (await actions())[EVERYWHERE]
    editor.edit(3, 0, 0, "    pass\n", uri=uri)
    assert EVERYWHERE not in await actions()
    with pytest.raises(JsonRpcException, match="edited meanwhile"):
        await editor.client.code_action_resolve_async(offered)
