"""Files that are not open: the editor tells of what happens to them on disk."""

from __future__ import annotations

import pytest
from lsprotocol import types

from tests.lsp.client import Editor, capabilities

ROOT_URI = "file:///work"


async def start(editor: Editor, *, watching: bool = True) -> types.InitializeResult:
    result = await editor.start(capabilities=capabilities(watching=watching), folders=(ROOT_URI,))
    editor.open("x", uri=f"{ROOT_URI}/open.py")
    await editor.until_ready()
    return result


async def test_watched_files_creations_renames_and_deletions_reach_the_index(editor: Editor) -> None:
    result = await start(editor)
    operations = result.capabilities.workspace.file_operations if result.capabilities.workspace else None
    assert operations is not None
    for operation in (operations.did_create, operations.did_rename, operations.did_delete):
        assert operation is not None
        assert [one.pattern.glob for one in operation.filters] == ["**/*"]
    client, kinds = editor.client, types.FileChangeType
    client.workspace_did_change_watched_files(
        types.DidChangeWatchedFilesParams(
            [
                types.FileEvent(f"{ROOT_URI}/made.py", kinds.Created),
                types.FileEvent(f"{ROOT_URI}/changed.py", kinds.Changed),
                types.FileEvent(f"{ROOT_URI}/gone.py", kinds.Deleted),
                types.FileEvent("file:///elsewhere/a.py", kinds.Changed),
            ]
        )
    )
    client.workspace_did_create_files(types.CreateFilesParams([types.FileCreate(f"{ROOT_URI}/new.py")]))
    moved = types.FileRename(old_uri=f"{ROOT_URI}/old", new_uri=f"{ROOT_URI}/moved")
    client.workspace_did_rename_files(types.RenameFilesParams([moved]))
    client.workspace_did_delete_files(types.DeleteFilesParams([types.FileDelete(f"{ROOT_URI}/moved/a.py")]))
    assert (await editor.state()).files == [
        ["made.py", "changed.py", "gone.py"],
        ["new.py"],
        ["old", "moved"],
        ["moved/a.py"],
    ]


@pytest.mark.parametrize("watching", [True, False])
async def test_watching_is_asked_for_where_the_editor_can(editor: Editor, watching: bool) -> None:
    await start(editor, watching=watching)
    assert (types.WORKSPACE_DID_CHANGE_WATCHED_FILES in editor.registered) == watching
