"""What the editor asks: each handler translates, and calls the host. What there is to decide is decided elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lsprotocol import types

from completion.refactor.worker_process import ask
from lsp import inline, menu
from lsp.host import Connect
from lsp.positions import Encoding
from lsp.refactor import Ask, add_refactoring
from lsp.server import SECTION, Server
from lsp.settings import parse

logger = logging.getLogger(__name__)

EXPLAIN = "tersely/explain"
DID_SHOW = "textDocument/didShowCompletion"
DID_PARTIALLY_ACCEPT = "textDocument/didPartiallyAcceptCompletion"
DID_FOCUS = "textDocument/didFocus"
"""Named and shaped as Copilot's server has them, since editors know those."""

_ANY_FILE = types.FileOperationRegistrationOptions(
    filters=[types.FileOperationFilter(pattern=types.FileOperationPattern(glob="**/*"), scheme="file")]
)


def build(connect: Connect, ask_worker: Ask = ask) -> Server:
    """A server that serves one editor, with the completer that `connect` makes once the settings are known.

    `ask_worker` does what refactoring asks for.

    pygls passes the server to a handler whose first parameter could be one; so untyped parameters are `Any`, and never
    `object`.
    """
    server = Server(connect)
    _add_lifecycle(server)
    _add_documents(server)
    _add_files(server)
    _add_suggestions(server)
    _add_explanations(server)
    _add_reports(server)
    add_refactoring(server, ask_worker)
    return server


def _add_lifecycle(server: Server) -> None:
    host = server.host

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        host.documents.encoding = Encoding(server.workspace.position_encoding or Encoding.UTF16)
        host.documents.change_roots(added=_roots(params), removed=[])
        options = params.initialization_options
        if isinstance(options, Mapping):
            server.initial_settings = options.get(SECTION)
            server.copilot_client = "editorPluginInfo" in options
        settings, _ = parse(server.initial_settings)
        server.protocol.menu_advertised = settings.menu

    @server.feature(types.INITIALIZED)
    async def initialized(_: types.InitializedParams) -> None:
        await server.start()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        if server.client_can("workspace", "configuration"):
            await server.pull_settings()
        else:
            sent: object = params.settings
            server.apply(sent.get(SECTION, sent) if isinstance(sent, Mapping) else sent)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_workspace_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        added, removed = params.event.added, params.event.removed
        host.documents.change_roots(added=[one.uri for one in added], removed=[one.uri for one in removed])
        host.roots_changed()

    @server.feature(types.SHUTDOWN)
    async def shutdown(_: Any) -> None:
        await server.aclose()


def _add_documents(server: Server) -> None:
    host = server.host

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        item = params.text_document
        host.opened(host.documents.open(item.uri, language_id=item.language_id, version=item.version, text=item.text))

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        document = host.documents.get(params.text_document.uri)
        if document is None:
            logger.warning("A change of a document that is not open is passed over: %s", params.text_document.uri)
            return
        before = document.buffer.text
        for change in params.content_changes:
            if isinstance(change, types.TextDocumentContentChangePartial):
                start, end = inline.to_place(change.range.start), inline.to_place(change.range.end)
                document.buffer.replace(start, end, change.text)
                if len(params.content_changes) == 1 and host.serves(document):
                    first, last = sorted((start.line, end.line))
                    host.recent.changed(document, before=before, first=first, last=last, text=change.text)
                    continue
            else:
                document.buffer.replace_all(change.text)
            host.recent.forget()
        document.buffer.version = params.text_document.version
        host.changed(document)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE, types.SaveOptions(include_text=False))
    def did_save(params: types.DidSaveTextDocumentParams) -> None:
        host.saved(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        host.close(params.text_document.uri)

    @server.feature(DID_FOCUS)
    def did_focus(params: Any) -> None:
        uri = _inside(params, "textDocument", "uri")
        document = host.documents.get(uri) if isinstance(uri, str) else None
        if document is not None:
            host.opened(document)


def _add_files(server: Server) -> None:
    """What happens to files that are not open: the editor may see what the system does not let us watch."""
    host = server.host

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_watched_files(params: types.DidChangeWatchedFilesParams) -> None:
        host.files_changed(event.uri for event in params.changes)

    @server.feature(types.WORKSPACE_DID_CREATE_FILES, _ANY_FILE)
    def did_create_files(params: types.CreateFilesParams) -> None:
        host.files_changed(file.uri for file in params.files)

    @server.feature(types.WORKSPACE_DID_RENAME_FILES, _ANY_FILE)
    def did_rename_files(params: types.RenameFilesParams) -> None:
        host.files_changed(uri for file in params.files for uri in (file.old_uri, file.new_uri))

    @server.feature(types.WORKSPACE_DID_DELETE_FILES, _ANY_FILE)
    def did_delete_files(params: types.DeleteFilesParams) -> None:
        host.files_changed(file.uri for file in params.files)


def _add_suggestions(server: Server) -> None:
    host = server.host

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        answer = await host.suggest(inline.to_query(params))
        pairs = inline.to_items(answer) if answer is not None else []
        for _, suggestion in pairs:
            host.sent(suggestion, params.text_document.uri)
        return types.InlineCompletionList(items=[item for item, _ in pairs])

    @server.feature(types.TEXT_DOCUMENT_COMPLETION)
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        if not host.settings.menu:
            return types.CompletionList(is_incomplete=False, items=[])
        answer = await host.suggest(menu.to_query(params))
        pairs = menu.to_items(answer) if answer is not None else []
        for _, suggestion in pairs:
            host.sent(suggestion, params.text_document.uri)
        # Asked for again at the next key, since a suggestion depends on every key.
        return types.CompletionList(is_incomplete=True, items=[item for item, _ in pairs])


def _add_explanations(server: Server) -> None:
    @server.feature(EXPLAIN)
    def explain(params: Any) -> Any:
        uri = _inside(params, "textDocument", "uri")
        return server.host.explain(uri) if isinstance(uri, str) else None


def _add_reports(server: Server) -> None:
    offers = server.host.offers

    @server.feature(DID_SHOW)
    def did_show(params: Any) -> None:
        if (suggestion_id := _suggestion_id(params)) is not None:
            offers.shown(suggestion_id)

    @server.feature(DID_PARTIALLY_ACCEPT)
    def did_partially_accept(params: Any) -> None:
        suggestion_id, length = _suggestion_id(params), _inside(params, "acceptedLength")
        if suggestion_id is not None and isinstance(length, int | float):
            offers.partly_accepted(suggestion_id, int(length))

    @server.command(inline.ACCEPTED)
    def accepted(*arguments: Any) -> None:
        if arguments and isinstance(arguments[0], str):
            offers.accepted(arguments[0])


def _roots(params: types.InitializeParams) -> list[str]:
    """Workspace folders; from older editors the one root."""
    if params.workspace_folders:
        return [folder.uri for folder in params.workspace_folders]
    if params.root_uri:
        return [params.root_uri]
    if params.root_path:
        from pygls.uris import from_fs_path

        uri = from_fs_path(params.root_path)
        return [uri] if uri else []
    return []


def _inside(value: object, *path: str | int) -> object:
    """What lies at `path` in plain JSON; None where the path ends early."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _suggestion_id(params: object) -> str | None:
    """The id that an item carries in its command's arguments."""
    suggestion_id = _inside(params, "item", "command", "arguments", 0)
    return suggestion_id if isinstance(suggestion_id, str) else None
