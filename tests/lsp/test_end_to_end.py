"""The server as a process, spoken to over standard input and output by pytest-lsp's client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lsprotocol import types

from completion.acceptance import acceptance_file
from tests.lsp.client import PYTHON, Editor, capabilities

ANY = capabilities()


@pytest.mark.parametrize(
    ("offered", "chosen", "column"),
    [
        (["utf-8", "utf-16"], "utf-8", 8),
        (["utf-32"], "utf-32", 5),
        (["utf-7", "utf-16", "utf-8"], "utf-16", 6),
        (None, "utf-16", 6),
    ],
)
async def test_the_clients_first_encoding_that_is_known(
    editor: Editor, offered: list[str] | None, chosen: str, column: int
):
    result = await editor.start(capabilities=capabilities(encodings=offered))
    assert result.capabilities.position_encoding == chosen
    editor.open("😀 = x\n")
    await editor.until_ready()
    [item] = await editor.items(0, 99)
    assert (item.range.start.character, item.range.end.character) == (column, column)


async def test_what_is_advertised(editor: Editor):
    offered = (await editor.start(capabilities=ANY)).capabilities
    assert offered.inline_completion_provider == types.InlineCompletionOptions()
    assert offered.completion_provider is None
    assert offered.text_document_sync.change == types.TextDocumentSyncKind.Incremental
    assert offered.execute_command_provider.commands == ("tersely.accepted", "tersely.refactor")


async def test_a_suggestion_and_nothing_heavy_before_it(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("x = \n")
    await editor.until_ready()
    [item] = await editor.items(0, 4)
    assert (item.insert_text, item.filter_text, item.command.command) == ("ghost()", "ghost()", "tersely.accepted")
    assert (await editor.state()).heavy == []


async def test_automatic_one_invoked_several(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("many ")
    await editor.until_ready()
    assert [item.insert_text for item in await editor.items(0, 5)] == ["one()"]
    assert [item.insert_text for item in await editor.items(0, 5, invoked=True)] == ["one()", "two()", "three()"]


async def test_while_the_model_loads_answers_are_empty_and_progress_shows(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("x = ")
    assert await editor.items(0, 4) == []
    await editor.until_ready()
    assert len(await editor.items(0, 4)) == 1
    [reports] = editor.client.progress_reports.values()
    kinds = [type(report).__name__.removeprefix("WorkDoneProgress") for report in reports]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("Begin", "End", {"Report"})
    assert [status.kind for status in editor.statuses][-1] == "Normal"
    assert "Busy" in [status.kind for status in editor.statuses]
    assert editor.copilot_statuses == []


async def test_clients_that_know_no_progress_get_none_and_copilot_clients_get_its_status(editor: Editor):
    await editor.start(capabilities=capabilities(progress=False), options={"editorPluginInfo": {"name": "x"}})
    editor.open("x = ")
    await editor.until_ready()
    assert editor.client.progress_reports == {}
    assert {(status.kind, status.busy) for status in editor.copilot_statuses} == {("Normal", True), ("Normal", False)}


async def test_a_newer_request_supersedes(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("slow\nx = ")
    await editor.until_ready()
    older = editor.ask(0, 4)
    assert len(await editor.items(1, 4)) == 1
    assert (await older).items == ()
    assert (await editor.state()).cancelled == 1


async def test_a_change_while_waiting_empties_the_answer(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("slow")
    await editor.until_ready()
    waiting = editor.ask(0, 4)
    editor.edit(0, 4, 4, "!")
    assert (await waiting).items == ()
    assert (await editor.state()).cancelled == 1


async def test_cancelling_reaches_the_completer(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("slow")
    await editor.until_ready()
    waiting = editor.ask(0, 4, request_id="to-cancel")
    assert (await editor.state()).cancelled == 0
    editor.client.cancel_request(types.CancelParams(id="to-cancel"))
    with pytest.raises(Exception, match="canceled") as caught:
        await waiting
    assert getattr(caught.value, "code", None) == types.LSPErrorCodes.RequestCancelled.value
    assert (await editor.state()).cancelled == 1


async def test_typing_edits_reach_the_completer_exactly(editor: Editor):
    await editor.start(capabilities=capabilities(encodings=["utf-16"]))
    editor.open("a\r\n😀\u2028b\r\n")
    await editor.until_ready()
    editor.edit(1, 2, 4, "xy")
    editor.edit(1, 4, 4, "many")
    [item] = await editor.items(1, 99)
    assert (item.insert_text, item.range.start.character) == ("one()", 8)


async def test_the_engines_death_is_one_warning_and_empty_answers(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("die\nx = ")
    await editor.until_ready()
    for _ in range(3):
        assert await editor.items(0, 3) == []
    assert editor.warnings == ["The engine died. Run `tersely doctor`."]
    assert (editor.statuses[-1].kind, editor.statuses[-1].hint) == ("Error", "Run `tersely doctor`.")
    assert len(await editor.items(1, 4)) == 1
    assert editor.statuses[-1].kind == "Normal"


async def test_defects_stray_prints_and_unknown_requests_show_nothing(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("boom\nprint\nx = ")
    await editor.until_ready()
    assert await editor.items(0, 4) == []
    assert len(await editor.items(1, 5)) == 1
    with pytest.raises(Exception, match="Method Not Found"):
        await editor.client.protocol.send_request_async("test/unknown", {})
    assert len(await editor.items(2, 4)) == 1
    assert editor.warnings == []


async def test_positions_outside_and_documents_unknown(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("x = \n")
    await editor.until_ready()
    [item] = await editor.items(0, 99)
    assert (item.range.start.line, item.range.start.character) == (0, 4)
    [item] = await editor.items(1, 0)
    assert (item.range.start.line, item.range.start.character) == (1, 0)
    [item] = await editor.items(7, 7)
    assert (item.range.start.line, item.range.start.character) == (1, 0)
    assert await editor.items(0, 0, uri="untitled:never") == []
    editor.edit(9, 9, 9, "y")
    [item] = await editor.items(1, 9)
    assert item.range.start.character == 1


async def test_bad_settings_are_named_and_good_ones_hold(editor: Editor):
    options = {"tersely": {"level": "quiet", "maxTokens": "many"}}
    await editor.start(capabilities=ANY, options=options, settings={"level": "eager", "maxTocens": 3})
    editor.open("x = ")
    await editor.until_ready()
    assert len(editor.warnings) == 2
    assert any('"tersely.maxTokens" must be' in text and "default, 64" in text for text in editor.warnings)
    assert any('Did you mean "tersely.maxTokens"?' in text for text in editor.warnings)
    state = await editor.state()
    assert (state.level, state.models) == ("eager", ["smollm2-135m"])
    assert editor.registered == [types.WORKSPACE_DID_CHANGE_CONFIGURATION]


async def test_settings_change_live(editor: Editor):
    await editor.start(capabilities=ANY, settings={"level": "quiet"})
    editor.open("x = ")
    await editor.until_ready()

    async def change(settings: object) -> None:
        editor.client.set_configuration({"tersely": settings})
        editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings=None))
        await editor.state()

    await change({"level": "eager", "completion": {"menu": True}})
    await editor.until(lambda: types.TEXT_DOCUMENT_COMPLETION in editor.registered)
    assert (await editor.state()).level == "eager"
    await change({"disabledLanguages": ["python"]})
    await editor.until(lambda: types.TEXT_DOCUMENT_COMPLETION not in editor.registered)
    assert await editor.items(0, 4) == []
    await change({"enabled": False})
    await editor.until(lambda: editor.statuses[-1].kind == "Inactive")
    await change({"model": "other"})
    await editor.until(lambda: editor.statuses[-1].kind == "Normal")
    await editor.until_ready()
    assert len(await editor.items(0, 4)) == 1
    assert (await editor.state()).models == ["smollm2-135m", "other"]


async def test_settings_pushed_by_clients_that_cannot_be_asked(editor: Editor):
    await editor.start(capabilities=capabilities(configuration=False, dynamic=False))
    editor.open("x = ")
    await editor.until_ready()
    pushed = types.DidChangeConfigurationParams(settings={"tersely": {"disabledLanguages": ["python"]}})
    editor.client.workspace_did_change_configuration(pushed)
    assert await editor.items(0, 4) == []
    assert editor.registered == []


async def test_the_menu_for_clients_without_inline_completion(editor: Editor):
    options = {"tersely": {"completion": {"menu": True}}}
    result = await editor.start(capabilities=capabilities(dynamic=False), options=options)
    assert result.capabilities.completion_provider == types.CompletionOptions()
    editor.open("x = gho")
    await editor.until_ready()
    where = types.CompletionParams(types.TextDocumentIdentifier(PYTHON), types.Position(0, 7))
    menu = await editor.client.text_document_completion_async(where)
    [item] = menu.items
    assert (menu.is_incomplete, item.label, item.text_edit.new_text) == (True, "ghoghost()", "ghoghost()")


async def test_a_menu_nobody_asked_for_stays_empty(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("x = ")
    await editor.until_ready()
    where = types.CompletionParams(types.TextDocumentIdentifier(PYTHON), types.Position(0, 4))
    assert (await editor.client.text_document_completion_async(where)).items == ()


async def test_several_roots_untitled_documents_and_eviction(editor: Editor, tmp_path: Path):
    one, two = tmp_path / "one", tmp_path / "two"
    await editor.start(capabilities=ANY, folders=(one.as_uri(),))
    added = types.WorkspaceFoldersChangeEvent(added=[types.WorkspaceFolder(two.as_uri(), "two")], removed=[])
    editor.client.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(added))
    uris = [(one / "a.py").as_uri(), (two / "src/b.py").as_uri(), "untitled:Untitled-1"]
    for uri in uris:
        editor.open("x = ", uri=uri)
    await editor.until_ready()
    for uri in uris:
        assert len(await editor.items(0, 4, uri=uri)) == 1
    for uri in uris[1:]:
        editor.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
        assert await editor.items(0, 4, uri=uri) == []
    state = await editor.state()
    assert (state.paths, state.closed, state.open) == (
        ["a.py", "src/b.py", "Untitled-1"],
        ["src/b.py", "Untitled-1"],
        1,
    )


async def test_what_became_of_a_suggestion_is_logged_without_content(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("x = ")
    await editor.until_ready()
    [item] = await editor.items(0, 4)
    shown = {"item": {"insertText": "ghost()", "command": {"arguments": list(item.command.arguments)}}}
    editor.client.protocol.notify("textDocument/didShowCompletion", shown)
    editor.client.protocol.notify("textDocument/didPartiallyAcceptCompletion", {**shown, "acceptedLength": 5})
    editor.client.protocol.notify("textDocument/didFocus", {"textDocument": {"uri": PYTHON}})
    for nonsense in ({}, {"item": {"command": {"arguments": []}}}, {"item": None}, [], {"textDocument": 1}):
        for method in ("didShowCompletion", "didPartiallyAcceptCompletion", "didFocus"):
            editor.client.protocol.notify(f"textDocument/{method}", nonsense)
    for arguments in (item.command.arguments, [], [7], ["unknown", 8]):
        accepted = types.ExecuteCommandParams("tersely.accepted", list(arguments))
        await editor.client.workspace_execute_command_async(accepted)
    await editor.client.shutdown_session()
    lines = [json.loads(line) for line in acceptance_file().read_text().splitlines()]
    ours = [line for line in lines if line["suggestion_id"] == item.command.arguments[0]][-3:]
    assert [(line["outcome"], line["accepted_length"]) for line in ours] == [
        ("shown", 0),
        ("partial", 5),
        ("accepted", 7),
    ]
    assert "ghost" not in acceptance_file().read_text()
    assert editor.warnings == []


async def test_the_log_can_be_switched_off(editor: Editor):
    acceptance_file().unlink(missing_ok=True)
    await editor.start(capabilities=ANY, settings={"acceptanceLog": False})
    editor.open("x = ")
    await editor.until_ready()
    [item] = await editor.items(0, 4)
    accepted = types.ExecuteCommandParams("tersely.accepted", list(item.command.arguments))
    await editor.client.workspace_execute_command_async(accepted)
    await editor.client.shutdown_session()
    assert not acceptance_file().exists()


async def test_a_suggestion_explains_itself(editor: Editor):
    await editor.start(capabilities=ANY)
    editor.open("x = \n")
    await editor.until_ready()
    assert await editor.explain() is None
    [item] = await editor.items(0, 4)
    told = await editor.explain()
    assert told["text"] == item.insert_text
    assert told["tokens"].keys() == {"prompt", "reused", "generated"}
    assert told["explain"].keys() >= {"context", "prompt", "generated", "filters", "vetoes"}
