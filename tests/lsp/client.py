"""An editor for end-to-end tests: pytest-lsp's client, with what this server's protocol adds to it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsprotocol import types
from pytest_lsp import LanguageClient, make_test_lsp_client

ROOT = Path(__file__).parents[2]
SERVER = [sys.executable, "-m", "tests.lsp.fake_server"]
PYTHON = "untitled:one"


def capabilities(
    *,
    encodings: list[str] | None = None,
    configuration: bool = True,
    dynamic: bool = True,
    progress: bool = True,
    watching: bool = False,
) -> types.ClientCapabilities:
    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(position_encodings=encodings),
        window=types.WindowClientCapabilities(work_done_progress=progress),
        workspace=types.WorkspaceClientCapabilities(
            configuration=configuration,
            did_change_configuration=types.DidChangeConfigurationClientCapabilities(dynamic_registration=dynamic),
            did_change_watched_files=types.DidChangeWatchedFilesClientCapabilities(dynamic_registration=watching),
            file_operations=types.FileOperationClientCapabilities(
                did_create=watching, did_rename=watching, did_delete=watching
            ),
            workspace_folders=True,
        ),
        text_document=types.TextDocumentClientCapabilities(
            inline_completion=types.InlineCompletionClientCapabilities(),
            completion=types.CompletionClientCapabilities(dynamic_registration=dynamic),
        ),
    )


class Editor:
    """One client with its server process."""

    def __init__(self) -> None:
        self.client: LanguageClient = make_test_lsp_client()
        self.statuses: list[Any] = []
        self.copilot_statuses: list[Any] = []
        self.registered: list[str] = []
        self._versions: dict[str, int] = {}

        @self.client.feature("tersely/didChangeStatus")
        def status(params: Any) -> None:
            self.statuses.append(params)

        @self.client.feature("didChangeStatus")
        def copilot_status(params: Any) -> None:
            self.copilot_statuses.append(params)

        @self.client.feature(types.CLIENT_REGISTER_CAPABILITY)
        def register(params: types.RegistrationParams) -> None:
            self.registered += [one.method for one in params.registrations]

        @self.client.feature(types.CLIENT_UNREGISTER_CAPABILITY)
        def unregister(params: types.UnregistrationParams) -> None:
            for one in params.unregisterations:
                self.registered.remove(one.method)

    async def start(
        self,
        *command: str,
        capabilities: types.ClientCapabilities,
        options: object = None,
        settings: object = None,
        folders: tuple[str, ...] = (),
    ) -> types.InitializeResult:
        self.client.set_configuration({"tersely": settings} if settings is not None else {})
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        await self.client.start_io(*(command or SERVER), cwd=ROOT, env=environment)
        return await self.client.initialize_session(
            types.InitializeParams(
                capabilities=capabilities,
                initialization_options=options,
                workspace_folders=[types.WorkspaceFolder(uri, uri) for uri in folders],
            )
        )

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self.client._server is not None
        return self.client._server

    @property
    def warnings(self) -> list[str]:
        return [message.message for message in self.client.messages]

    def open(self, text: str, *, uri: str = PYTHON, language_id: str = "python") -> None:
        self._versions[uri] = 1
        item = types.TextDocumentItem(uri, language_id, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def edit(self, line: int, start: int, end: int, text: str, *, uri: str = PYTHON) -> None:
        self._versions[uri] += 1
        document = types.VersionedTextDocumentIdentifier(self._versions[uri], uri)
        span = types.Range(types.Position(line, start), types.Position(line, end))
        change = types.TextDocumentContentChangePartial(range=span, text=text)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def ask(
        self, line: int, column: int, *, uri: str = PYTHON, invoked: bool = False, request_id: str | None = None
    ) -> asyncio.Future[Any]:
        """Send a request now; the answer is what the future brings, within 20 seconds."""
        kinds = types.InlineCompletionTriggerKind
        context = types.InlineCompletionContext(kinds.Invoked if invoked else kinds.Automatic)
        params = types.InlineCompletionParams(context, types.TextDocumentIdentifier(uri), types.Position(line, column))
        sent = self.client.protocol.send_request(types.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id=request_id)
        return asyncio.ensure_future(asyncio.wait_for(asyncio.wrap_future(sent), 20))

    async def items(self, line: int, column: int, **how: Any) -> list[Any]:
        result = await self.ask(line, column, **how)
        return list(result.items)

    async def explain(self, *, uri: str = PYTHON) -> Any:
        """What `tersely/explain` tells of a document's last suggestion, as plain JSON."""
        return plain(await self.client.protocol.send_request_async("tersely/explain", {"textDocument": {"uri": uri}}))

    async def state(self) -> Any:
        """What the scripted completer behind the server has seen."""
        return await self.client.protocol.send_request_async("test/state", {})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the server says by itself."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is waited for comes from another process.
                await asyncio.sleep(0.01)

    async def until_ready(self) -> None:
        await self.until(lambda: bool(self.statuses) and "is ready" in self.statuses[-1].message)

    async def stop(self) -> None:
        if self.client._server is not None and self.process.returncode is None:
            await self.client.shutdown_session()
        await self.client.stop()


def plain(value: Any) -> Any:
    """JSON as dictionaries and lists: pygls makes named tuples of what has no type of its own."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(inner) for key, inner in value._asdict().items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value
