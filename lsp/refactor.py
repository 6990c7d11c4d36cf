"""Refactoring in the editor: code actions, and `tersely.refactor` with a wish of one's own. Decides nothing.

The work is done by a process of its own (`completion.refactor.worker_process`), which sees the open buffers and
answers with edits; this process stays light. A cancelled request, or progress, ends it. What somebody should look at
first carries an annotation that asks for confirmation, where the editor knows such.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.uris import from_fs_path

from completion.refactor.worker_process import Rename, Reply, Request, ask
from lsp.documents import Document
from lsp.editors_rename import can_be_asked, rename_by_editor
from lsp.inline import to_place
from lsp.positions import units
from lsp.server import Server
from model.errors import TerselyError

COMMAND = "tersely.refactor"
"""Arguments: one object with `uri`, `wish` (or `call`, a tool's call), and maybe `range`."""
_REVIEW = "tersely-review"
_LIKELY = 0.5
_NAME = re.compile(r"\w+")
_EXTRACTED = "extracted"
_PLAIN_KINDS = types.CodeActionKind
_KINDS = [
    _PLAIN_KINDS.RefactorExtract,
    _PLAIN_KINDS.RefactorInline,
    _PLAIN_KINDS.RefactorRewrite,
    _PLAIN_KINDS.QuickFix,
    _PLAIN_KINDS.SourceOrganizeImports,
]
_UNUSED = re.compile(r"F401|unused.import|imported but unused|is not accessed", re.IGNORECASE)

Ask = Callable[[Request, Rename | None], Awaitable[Reply]]


def add_refactoring(server: Server, ask_worker: Ask = ask) -> None:
    """Serve code actions and the command. `ask_worker` stands for the process in tests."""

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=_KINDS, resolve_provider=True)
    )
    def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        document = server.host.documents.get(params.text_document.uri)
        if document is None or not _may_serve(server, document):
            return []
        wanted = params.context.only
        return [
            action
            for action in [*_offered(document, params), *_repeats(server, document)]
            if wanted is None or any(_is_kind(action.kind, one) for one in wanted)
        ]

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        data = action.data if isinstance(action.data, Mapping) else {}
        document = server.host.documents.get(str(data.get("uri", "")))
        if document is None:
            raise JsonRpcException("The document is not open any more.")
        reply = await _asked(server, document, _with_edits(server, document, dict(data)), ask_worker)
        report = reply["report"]
        if report["status"] != "changed":
            raise JsonRpcException(str(report["reason"]))
        action.edit = workspace_edit(server, document, reply)
        return action

    @server.command(COMMAND)
    async def refactor(*arguments: Any) -> Any:
        given = arguments[0] if arguments and isinstance(arguments[0], Mapping) else {}
        document = server.host.documents.get(str(given.get("uri", "")))
        wished = given.get("wish") or given.get("call")
        if document is None or not _may_serve(server, document) or not wished:
            raise JsonRpcException(f"{COMMAND} needs the uri of an open document of a trusted workspace, and a wish.")
        return await server.protocol.run_cancellably(_granted(server, document, given, ask_worker))


async def _granted(server: Server, document: Document, given: Mapping[str, Any], ask_worker: Ask) -> dict[str, Any]:
    """Grant a wish: progress while it is planned, one edit for all of it, and the report."""
    data: dict[str, Any] = {"wish": given.get("wish"), "call": given.get("call")}
    if isinstance(given.get("range"), Mapping):
        start, end = given["range"]["start"], given["range"]["end"]
        last = int(end["line"]) + (0 if int(end["character"]) or end["line"] == start["line"] else -1)
        data["lines"] = [int(start["line"]) + 1, max(int(start["line"]), last) + 1]
    revision = document.buffer.revision
    token = await _begin(server, str(given.get("wish") or "Refactoring"))
    said = ""
    try:
        reply = await _asked(server, document, data, ask_worker)
        report: dict[str, Any] = reply["report"]
        said = str(report["reason"] or "done")
        if report["status"] != "changed":
            server.warn(f"tersely: {report['reason']}")
            return {"applied": False, **report}
        if document.buffer.revision != revision:
            raise JsonRpcException("The document has changed meanwhile: ask again.")
        edit = workspace_edit(server, document, reply)
        params = types.ApplyWorkspaceEditParams(edit=edit, label=str(given.get("wish") or "tersely"))
        result = await server.workspace_apply_edit_async(params)
        return {"applied": result.applied, **report}
    finally:
        if token is not None:
            server.end(token, said)


async def _asked(server: Server, document: Document, data: dict[str, Any], ask_worker: Ask) -> Reply:
    """What the process answers. Raises `JsonRpcException` with what went wrong, for the editor to show."""
    documents = [one for one in server.host.documents if one.root == document.root]
    settings = server.host.settings.completion
    request = {
        **{key: value for key, value in data.items() if value is not None and key != "uri"},
        "root": document.root,
        "path": document.path,
        "buffers": {one.path: one.buffer.text for one in documents},
        "settings": {
            "model": settings.model, "engine_url": settings.engine_url,
            "engine_token_file": settings.engine_token_file, "threads": settings.threads,
        },
    }  # fmt: skip

    async def rename(question: Mapping[str, Any]) -> dict[str, Any] | None:
        return await rename_by_editor(server, document, question)

    try:
        reply = await ask_worker(request, rename if can_be_asked(server) else None)
    except TerselyError as error:
        raise JsonRpcException(str(error)) from error
    if "error" in reply:
        raise JsonRpcException(f"{reply['error']} {reply.get('hint', '')}".strip())
    return reply


async def _begin(server: Server, title: str) -> str | None:
    """Begin progress that the user can cancel: with it the request under way. None where the editor shows none."""
    if not server.client_can("window", "work_done_progress"):
        return None
    token = f"tersely-refactor-{uuid.uuid4()}"
    await server.work_done_progress.create_async(token)
    begin = types.WorkDoneProgressBegin(title=title, message="planning", cancellable=True)
    server.work_done_progress.begin(token, begin)
    working = asyncio.current_task()
    cancelled = server.work_done_progress.tokens.get(token)
    if working is not None and cancelled is not None:
        loop = asyncio.get_running_loop()
        cancelled.add_done_callback(
            lambda done: loop.call_soon_threadsafe(working.cancel) if done.cancelled() else None
        )
    return token


def workspace_edit(server: Server, document: Document, reply: Reply) -> types.WorkspaceEdit:
    """The reply as one edit: with versions, so that an editor refuses it for texts that have changed since.

    Raises `JsonRpcException` where files come or go and the editor cannot do that.
    """
    versioned = server.client_can("workspace", "workspace_edit", "document_changes")
    annotated = versioned and server.client_can("workspace", "workspace_edit", "change_annotation_support")
    sure = float(reply["report"].get("confidence", 1.0)) >= _LIKELY and not reply.get("look_first")
    doubtful = annotated and not sure
    changes: list[Any] = []
    for change in reply["changes"]:
        uri, open_one = _where(server, document, str(change["path"]))
        edits = [edit for edit in change["edits"] if annotated or not edit["why"]]
        if change["created"] or change["removed"]:
            _resources_allowed(server)
        if change["removed"]:
            changes.append(types.DeleteFile(uri=uri))
            continue
        if change["created"]:
            changes.append(types.CreateFile(uri=uri))
        if edits:
            version = None if open_one is None else open_one.buffer.version
            identifier = types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=version)
            made = [_text_edit(server, one, doubtful=doubtful) for one in edits]
            changes.append(types.TextDocumentEdit(text_document=identifier, edits=made))
    if not versioned:
        plain: dict[str, Sequence[types.TextEdit]] = {
            one.text_document.uri: [edit for edit in one.edits if isinstance(edit, types.TextEdit)]
            for one in changes
            if isinstance(one, types.TextDocumentEdit)
        }
        return types.WorkspaceEdit(changes=plain)
    review = types.ChangeAnnotation(label="Look first", needs_confirmation=True, description="tersely is not sure")
    return types.WorkspaceEdit(document_changes=changes, change_annotations={_REVIEW: review} if annotated else None)


def _text_edit(server: Server, edit: Mapping[str, Any], *, doubtful: bool) -> Any:
    encoding = server.host.documents.encoding
    span = types.Range(
        types.Position(int(edit["start_line"]), units(str(edit["start_before"]), encoding)),
        types.Position(int(edit["end_line"]), units(str(edit["end_before"]), encoding)),
    )
    if edit["why"] or doubtful:
        return types.AnnotatedTextEdit(annotation_id=_REVIEW, range=span, new_text=str(edit["text"]))
    return types.TextEdit(range=span, new_text=str(edit["text"]))


def _where(server: Server, document: Document, path: str) -> tuple[str, Document | None]:
    """The URI of a file of the document's root, and its document where it is open."""
    for one in server.host.documents:
        if one.root == document.root and one.path == path:
            return one.uri, one
    return from_fs_path(f"{document.root}/{path}") or "", None


def _resources_allowed(server: Server) -> None:
    able = (
        server.client_can("workspace", "workspace_edit", name) for name in ("document_changes", "resource_operations")
    )
    if not all(able):
        raise JsonRpcException("Files would come or go, which this editor cannot do. Use `tersely refactor`.")


def _may_serve(server: Server, document: Document) -> bool:
    settings = server.host.settings
    return document.root is not None and settings.enabled and settings.completion.trusted


def _offered(document: Document, params: types.CodeActionParams) -> list[types.CodeAction]:
    """What can be tried here. Whether it can be done is found out when an action is chosen: asking is cheap."""
    buffer, span = document.buffer, params.range
    start, end = buffer.offset(to_place(span.start)), buffer.offset(to_place(span.end))
    uri, path = document.uri, document.path
    found = []
    if start != end:
        chosen = buffer.text[start:end]
        last = span.end.line + (0 if span.end.character or span.end.line == span.start.line else -1)
        if path.endswith(".py"):
            call = {"name": "extract_function", "path": path, "first_line": span.start.line + 1,
                    "last_line": max(last, span.start.line) + 1, "new_name": _EXTRACTED}  # fmt: skip
            found.append(_action("Extract function", _PLAIN_KINDS.RefactorExtract, uri, call))
        if "\n" not in chosen.strip() and chosen.strip():
            call = {"name": "extract_variable", "path": path, "line": span.start.line + 1,
                    "expression": chosen.strip(), "new_name": _EXTRACTED}  # fmt: skip
            found.append(_action("Extract variable", _PLAIN_KINDS.RefactorExtract, uri, call))
    name = _name_around(buffer.text, start)
    if name:
        cursor = {"symbol": "@cursor"}
        found.append(_action(f"Inline {name}", _PLAIN_KINDS.RefactorInline, uri, {"name": "inline", **cursor}, start))
        if path.endswith(".py") and re.match(r"\s*(async\s+)?def\s", _line(buffer.text, start)):
            types_ = {"name": "add_types", **cursor}
            found.append(_action(f"Add types to {name}", _PLAIN_KINDS.RefactorRewrite, uri, types_, start))
    if path.endswith(".py"):
        organize = {"name": "organize_imports", "path": path}
        found.append(_action("Organize imports", _PLAIN_KINDS.SourceOrganizeImports, uri, organize))
        unused = [one for one in params.context.diagnostics if _UNUSED.search(f"{one.code} {one.message}")]
        if unused:
            fix = _action("Remove unused imports", _PLAIN_KINDS.QuickFix, uri, organize)
            fix.diagnostics = unused
            found.append(fix)
    return found


def _repeats(server: Server, document: Document) -> list[types.CodeAction]:
    """After two edits alike: the third, and all others. Whether there is a rule is found out when it is chosen."""
    if not server.host.recent.alike(document):
        return []
    titles = {"Make the last two edits everywhere": False, "Save the last two edits as a rule": True}
    return [
        types.CodeAction(
            title=title, kind=_PLAIN_KINDS.RefactorRewrite, data={"uri": document.uri, "repeat": True, "save": save}
        )
        for title, save in titles.items()
    ]


def _with_edits(server: Server, document: Document, data: dict[str, Any]) -> dict[str, Any]:
    """The request with the edits that are to be repeated, which the editor need not carry about."""
    if not data.get("repeat"):
        return data
    edits = server.host.recent.alike(document)
    if not edits:
        raise JsonRpcException("Something else was edited meanwhile.")
    pairs = [{"path": one.document.path, "before": one.before, "after": one.after} for one in edits]
    return {**data, "repeat": pairs}


def _action(
    title: str, kind: types.CodeActionKind, uri: str, call: dict[str, Any], offset: int | None = None
) -> types.CodeAction:
    return types.CodeAction(title=title, kind=kind, data={"uri": uri, "call": call, "offset": offset})


def _is_kind(kind: object, wanted: object) -> bool:
    """Kinds are a tree: `refactor` wants `refactor.extract` too."""
    own, asked = (str(getattr(one, "value", one)) for one in (kind, wanted))
    return own == asked or own.startswith(asked + ".")


def _name_around(text: str, offset: int) -> str:
    line_start = text.rfind("\n", 0, offset) + 1
    for match in _NAME.finditer(_line(text, offset)):
        if match.start() <= offset - line_start <= match.end() and not match[0][0].isdigit():
            return match[0]
    return ""


def _line(text: str, offset: int) -> str:
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    return text[start : len(text) if end < 0 else end]
