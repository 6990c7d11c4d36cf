"""An editor that only remembers what it was told, and a host that serves it over a scripted completer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from completion.api import Completer, EngineStatus, Trigger
from completion.fake import FakeCompleter
from completion.settings import CompletionSettings
from lsp.documents import Document
from lsp.host import Answer, Host, Query
from lsp.positions import Place
from lsp.settings import Settings
from lsp.status import Status
from tests.cursor import at_cursor

URI = "untitled:one"


@dataclass
class RecordingEditor:
    warnings: list[str] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    loading: list[EngineStatus] = field(default_factory=list)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def show_status(self, status: Status) -> None:
        self.statuses.append(status)

    def show_loading(self, status: EngineStatus) -> None:
        self.loading.append(status)


@dataclass
class Bench:
    """A host, its editor, and the completers that it connected to, newest last."""

    completers: list[FakeCompleter]
    editor: RecordingEditor = field(default_factory=RecordingEditor)
    host: Host = field(init=False)
    connected: list[CompletionSettings] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def connect(settings: CompletionSettings) -> Completer:
            self.connected.append(settings)
            return self.completers[len(self.connected) - 1]

        self.host = Host(connect, self.editor)

    @property
    def completer(self) -> FakeCompleter:
        return self.completers[len(self.connected) - 1]

    async def start(self, settings: Settings | None = None) -> None:
        self.host.apply(settings or Settings(acceptance_log=False))
        await settle()

    def open(self, source: str, *, uri: str = URI, language_id: str = "python") -> tuple[Document, Place]:
        """Open a document with a cursor mark in it."""
        text, offset = at_cursor(source)
        document = self.host.documents.open(uri, language_id=language_id, version=1, text=text)
        self.host.opened(document)
        return document, document.buffer.place(offset)

    def ask(self, place: Place, *, uri: str = URI, trigger: Trigger = Trigger.AUTOMATIC) -> asyncio.Task[Answer | None]:
        return asyncio.ensure_future(self.host.suggest(Query(uri=uri, place=place, trigger=trigger)))


async def settle() -> None:
    """Let everything that can run now run."""
    for _ in range(20):
        await asyncio.sleep(0)


def texts(answer: Answer | None) -> list[str]:
    return [] if answer is None else [one.text for one in answer.suggestions]
