"""Virtual workspaces, whose files are on no disk: suggestions from the open text alone, and no refactoring."""

from __future__ import annotations

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tests.lsp.client import Editor, capabilities

ROOT = "vscode-vfs://github/owner/project"
URI = f"{ROOT}/src/a%20b.py"


async def test_what_works_in_a_virtual_workspace(editor: Editor):
    await editor.start(capabilities=capabilities(), folders=(ROOT,))
    editor.open("x = ", uri=URI)
    await editor.until_ready()
    [item] = await editor.items(0, 4, uri=URI)
    assert item.insert_text == "ghost()"
    assert (await editor.state()).paths == ["owner/project/src/a b.py"]

    everything = types.Range(types.Position(0, 0), types.Position(0, 4))
    context = types.CodeActionContext(diagnostics=[])
    params = types.CodeActionParams(types.TextDocumentIdentifier(URI), everything, context)
    assert not await editor.client.text_document_code_action_async(params)
    wish = types.ExecuteCommandParams("tersely.refactor", [{"uri": URI, "wish": "rename x to y"}])
    with pytest.raises(JsonRpcException, match="open document"):
        await editor.client.workspace_execute_command_async(wish)
    assert editor.warnings == []
