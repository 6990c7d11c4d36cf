"""Refactoring over the protocol: code actions and the command, against a server process and its worker process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tests.lsp.client import Editor, capabilities, plain

TEXT = "import os\n\n\ndef area(w, h):\n    é = '\U0001f600'; s = w * h\n    return s\n\n\nprint(area(2, 3))  # area\n"


def able(*, annotations: bool = True, changes: bool = True) -> types.ClientCapabilities:
    made = capabilities()
    assert made.workspace is not None
    made.workspace.workspace_edit = types.WorkspaceEditClientCapabilities(
        document_changes=changes,
        resource_operations=[types.ResourceOperationKind.Create],
        change_annotation_support=types.ChangeAnnotationsSupportOptions() if annotations else None,
    )
    return made


class Workspace:
    """An editor with a file open, which applies what the server asks it to."""

    def __init__(self, editor: Editor, root: Path) -> None:
        self.editor, self.root = editor, root
        self.uri = (root / "a.py").as_uri()
        self.applied: list[types.ApplyWorkspaceEditParams] = []
        self.progress: list[Any] = []

        @editor.client.feature(types.WORKSPACE_APPLY_EDIT)
        def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.applied.append(params)
            return types.ApplyWorkspaceEditResult(applied=True)

    async def start(self, can: types.ClientCapabilities) -> types.InitializeResult:
        (self.root / "a.py").write_text("on disk\n")
        result = await self.editor.start(capabilities=can, folders=(self.root.as_uri(),))
        self.editor.open(TEXT, uri=self.uri)
        return result

    async def actions(self, start: tuple[int, int], end: tuple[int, int], *, only: Any = None, said: Any = ()) -> Any:
        span = types.Range(types.Position(*start), types.Position(*end))
        context = types.CodeActionContext(diagnostics=list(said), only=only)
        params = types.CodeActionParams(types.TextDocumentIdentifier(self.uri), span, context)
        return await self.editor.client.text_document_code_action_async(params)

    async def command(self, **given: Any) -> Any:
        params = types.ExecuteCommandParams(command="tersely.refactor", arguments=[{"uri": self.uri, **given}])
        return plain(await asyncio.wait_for(self.editor.client.workspace_execute_command_async(params), 60))


@pytest.fixture
def workspace(editor: Editor, tmp_path: Path) -> Workspace:
    return Workspace(editor, tmp_path)


def edits_of(edit: Any) -> list[tuple[str, str | None]]:
    """The new text of each edit, and its annotation."""
    return [
        (one.new_text, getattr(one, "annotation_id", None))
        for change in edit.document_changes
        if isinstance(change, types.TextDocumentEdit)
        for one in change.edits
    ]


async def test_actions_are_offered_and_resolved(workspace: Workspace) -> None:
    result = await workspace.start(able())
    offered = result.capabilities.code_action_provider
    assert isinstance(offered, types.CodeActionOptions)
    assert offered.resolve_provider
    found = await workspace.actions((4, 18), (4, 23))
    titles = [one.title for one in found]
    assert titles[:2] == ["Extract function", "Extract variable"]
    extract = next(one for one in found if one.title == "Extract variable")
    assert extract.edit is None
    resolved = await workspace.editor.client.code_action_resolve_async(extract)
    assert resolved.edit is not None
    (change,) = resolved.edit.document_changes
    assert change.text_document.version == 1
    assert ("".join(text for text, _ in edits_of(resolved.edit))).count("extracted") == 2


async def test_kinds_are_a_tree(workspace: Workspace) -> None:
    await workspace.start(able())
    inline = await workspace.actions((4, 14), (4, 14), only=[types.CodeActionKind.RefactorInline])
    assert [one.title for one in inline] == ["Inline s"]
    every = await workspace.actions((3, 5), (3, 5), only=[types.CodeActionKind.Refactor])
    assert [one.title for one in every] == ["Inline area", "Add types to area"]
    resolved = await workspace.editor.client.code_action_resolve_async(inline[0])
    assert resolved.edit is not None
    bad = await workspace.actions((0, 8), (0, 8), only=[types.CodeActionKind.RefactorInline])
    with pytest.raises(JsonRpcException, match="variable"):
        await workspace.editor.client.code_action_resolve_async(bad[0])


async def test_a_quick_fix_for_unused_imports(workspace: Workspace) -> None:
    await workspace.start(able())
    span = types.Range(types.Position(0, 7), types.Position(0, 9))
    said = types.Diagnostic(range=span, message="`os` imported but unused", code="F401")
    fixes = await workspace.actions((0, 7), (0, 9), only=[types.CodeActionKind.QuickFix], said=[said])
    assert [one.title for one in fixes] == ["Remove unused imports"]
    resolved = await workspace.editor.client.code_action_resolve_async(fixes[0])
    assert resolved.edit is not None
    assert all("import os" not in text for text, _ in edits_of(resolved.edit))


async def test_the_command_applies_one_edit(workspace: Workspace) -> None:
    await workspace.start(able())
    call = {"name": "rename", "symbol": "area", "new_name": "surface"}
    report = await workspace.command(call=call)
    assert (report["applied"], report["status"]) == (True, "changed")
    (params,) = workspace.applied
    assert edits_of(params.edit) == [("surface", None), ("surface", None), ("surface", "tersely-review")]
    assert params.edit.change_annotations is not None
    await workspace.command(call={"name": "rename", "symbol": "none", "new_name": "x"})
    assert len(workspace.applied) == 1
    assert any("no symbol none" in one for one in workspace.editor.warnings)
    with pytest.raises(JsonRpcException):
        await workspace.command()


async def test_an_editor_of_few_means(workspace: Workspace) -> None:
    await workspace.start(able(annotations=False, changes=False))
    report = await workspace.command(call={"name": "edit", "path": "a.py", "old": "w * h", "new": "h * w"})
    assert report["applied"] is True
    (params,) = workspace.applied
    assert params.edit.document_changes is None
    assert list(params.edit.changes or {}) == [workspace.uri]


async def test_annotations_need_versioned_changes(workspace: Workspace) -> None:
    """Neovim 0.12 says that it knows the one and not the other: only what needs no look arrives."""
    await workspace.start(able(annotations=True, changes=False))
    report = await workspace.command(call={"name": "rename", "symbol": "area", "new_name": "surface"})
    assert report["review"]
    (params,) = workspace.applied
    (edits,) = (params.edit.changes or {}).values()
    assert [one.new_text for one in edits] == ["surface", "surface"]


async def test_files_do_not_come_or_go_without_versioned_changes(workspace: Workspace) -> None:
    await workspace.start(able(changes=False))
    with pytest.raises(JsonRpcException, match="come or go"):
        await workspace.command(call={"name": "move", "source": "area", "to_path": "b.py"})
    assert workspace.applied == []


class Cancelling:
    """A wish that waits for ever, and an editor that has had enough."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.editor = workspace, workspace.editor

    async def begin(self) -> asyncio.Future[Any]:
        """The request, when the work has begun and progress is shown."""
        params = types.ExecuteCommandParams(
            command="tersely.refactor", arguments=[{"uri": self.workspace.uri, "wish": "wait"}]
        )
        sent = self.editor.client.protocol.send_request(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id="wish")
        await self.until_waiting("begun")
        return asyncio.wrap_future(sent)

    async def until_waiting(self, *states: str) -> None:
        async with asyncio.timeout(20):
            while tuple((await self.editor.state()).waiting) != states:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.01)

    @property
    def token(self) -> types.ProgressToken:
        """Of the progress that is shown for the wish."""
        [token] = [one for one in self.editor.client.progress_reports if str(one).startswith("tersely-refactor-")]
        return token

    @property
    def shown(self) -> list[str]:
        """The kinds of progress that were told."""
        return [str(one.kind) for one in self.editor.client.progress_reports[self.token]]


@pytest.mark.parametrize("way", ["request", "progress"])
async def test_a_running_wish_can_be_cancelled(workspace: Workspace, way: str) -> None:
    await workspace.start(able())
    await workspace.editor.until_ready()
    cancelling = Cancelling(workspace)
    request = await cancelling.begin()
    if way == "request":
        workspace.editor.client.cancel_request(types.CancelParams(id="wish"))
    else:
        workspace.editor.client.window_work_done_progress_cancel(
            types.WorkDoneProgressCancelParams(token=cancelling.token)
        )
    with pytest.raises(JsonRpcException) as caught:
        await asyncio.wait_for(request, 20)
    assert caught.value.code == -32800
    await cancelling.until_waiting("begun", "ended")
    await workspace.editor.until(lambda: cancelling.shown == ["begin", "end"])
    assert workspace.applied == []
    report = await workspace.command(call={"name": "edit", "path": "a.py", "old": "w * h", "new": "h * w"})
    assert report["applied"] is True, "the server goes on"
