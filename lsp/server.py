"""The language server as an object: one connection, one host, and what the host says to the editor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from completion.api import EngineStatus
from lsp.host import Connect, Host
from lsp.parent import wait_until_gone
from lsp.progress import LoadProgress
from lsp.protocol import Protocol, converter
from lsp.settings import Settings, parse
from lsp.status import Status

logger = logging.getLogger(__name__)

SECTION = "tersely"
STATUS = "tersely/didChangeStatus"
COPILOT_STATUS = "didChangeStatus"
_CONFIGURATION_WAIT_S = 2.0
"""An editor that takes longer to answer gets the settings it sent at first until it does."""
_MENU_REGISTRATION = "tersely-menu"


class Server(LanguageServer):
    """A pygls server with a host, and the host's editor."""

    protocol: Protocol

    def __init__(self, connect: Connect) -> None:
        super().__init__(
            "tersely",
            _version(),
            text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
            protocol_cls=Protocol,
            converter_factory=converter,
        )
        self.host = Host(connect, self)
        self.initial_settings: object = None
        self.copilot_client = False
        self.on_orphaned: Callable[[], None] = lambda: None
        self._progress = LoadProgress(self)
        self._menu_registered = False
        self._tasks: set[asyncio.Future[Any]] = set()

    def in_background(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        """Run `work` as a task that is kept until it is done, and whose failure is logged."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Background work failed", exc_info=error)

    async def aclose(self) -> None:
        """End background work and let go of the completer. Can be called again."""
        for task in list(self._tasks):
            task.cancel()
        await self.host.aclose()

    def client_can(self, *path: str) -> bool:
        """Whether the client's capabilities have something true at `path`."""
        value: Any = self.client_capabilities
        for name in path:
            value = getattr(value, name, None)
        return bool(value)

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Into the log, never as a pop-up: an editor would show one at each key."""
        logger.error("%s: %s", getattr(source, "__name__", source), error)

    # What the host says to the editor.

    def warn(self, message: str) -> None:
        self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, message))

    def show_status(self, status: Status) -> None:
        shown = {"kind": status.kind.value, "message": status.message, "busy": status.busy, "hint": status.hint}
        self.protocol.notify(STATUS, shown)
        if self.copilot_client:
            kind = "Normal" if status.busy else status.kind.value
            self.protocol.notify(COPILOT_STATUS, {"kind": kind, "message": status.message, "busy": status.busy})

    def show_loading(self, status: EngineStatus) -> None:
        if self.client_can("window", "work_done_progress"):
            self._progress.update(status)

    # What the progress display needs of the editor.

    def create(self, token: str) -> Awaitable[object]:
        return self.work_done_progress.create_async(token)

    def begin(self, token: str, title: str, message: str, percentage: int | None) -> None:
        begin = types.WorkDoneProgressBegin(title=title, message=message, percentage=percentage)
        self.work_done_progress.begin(token, begin)

    def report(self, token: str, message: str, percentage: int | None) -> None:
        self.work_done_progress.report(token, types.WorkDoneProgressReport(message=message, percentage=percentage))

    def end(self, token: str, message: str) -> None:
        self.work_done_progress.end(token, types.WorkDoneProgressEnd(message=message))

    # Settings.

    async def start(self) -> None:
        """After `initialized`: read the settings, and start with them."""
        self._register_configuration()
        self._register_watching()
        pulling = self.in_background(self.pull_settings())
        await asyncio.wait({pulling}, timeout=_CONFIGURATION_WAIT_S)
        if not pulling.done():
            self.apply(None)
        if self.process_id is not None:
            self.in_background(self._watch_parent(self.process_id))

    async def pull_settings(self) -> None:
        """Ask the editor for its configuration where it can be asked, and apply it."""
        configuration: object = None
        if self.client_can("workspace", "configuration"):
            item = types.ConfigurationItem(section=SECTION)
            try:
                answers = await self.workspace_configuration_async(types.ConfigurationParams([item]))
                configuration = answers[0] if answers else None
            except Exception as error:  # noqa: BLE001 - an editor's error is no reason to stay without settings.
                logger.warning("The editor did not answer workspace/configuration: %s", error)
        self.apply(configuration)

    def apply(self, configuration: object) -> None:
        """Apply the configuration over what came with `initialize`."""
        settings, problems = parse(self.initial_settings, configuration)
        self.host.apply(settings, problems)
        self._offer_menu(settings)

    def _register_configuration(self) -> None:
        if self.client_can("workspace", "did_change_configuration", "dynamic_registration"):
            options = types.DidChangeConfigurationRegistrationOptions(section=SECTION)
            self._register("tersely-settings", types.WORKSPACE_DID_CHANGE_CONFIGURATION, options)

    def _register_watching(self) -> None:
        """Have the editor tell of changes on disk: it may watch folders (remote ones) that this system cannot."""
        if self.client_can("workspace", "did_change_watched_files", "dynamic_registration"):
            everything = types.FileSystemWatcher(glob_pattern="**/*")
            options = types.DidChangeWatchedFilesRegistrationOptions(watchers=[everything])
            self._register("tersely-files", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)

    def _offer_menu(self, settings: Settings) -> None:
        """Register or unregister the menu where the editor can be told; else a change holds after a restart."""
        if self.protocol.menu_advertised or settings.menu == self._menu_registered:
            return
        if not self.client_can("text_document", "completion", "dynamic_registration"):
            return
        self._menu_registered = settings.menu
        method = types.TEXT_DOCUMENT_COMPLETION
        if settings.menu:
            self._register(_MENU_REGISTRATION, method, types.CompletionRegistrationOptions())
        else:
            gone = types.Unregistration(id=_MENU_REGISTRATION, method=method)
            self.in_background(self.client_unregister_capability_async(types.UnregistrationParams([gone])))

    def _register(self, name: str, method: str, options: object) -> None:
        registration = types.Registration(id=name, method=method, register_options=options)
        self.in_background(self.client_register_capability_async(types.RegistrationParams([registration])))

    async def _watch_parent(self, process_id: int) -> None:
        if await wait_until_gone(process_id):
            logger.warning("The editor is gone, without a word.")
            self.on_orphaned()


def _version() -> str:
    try:
        return version("tersely")
    except PackageNotFoundError:
        return "unknown"
