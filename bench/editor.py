"""An editor for benches: types into a real language server over stdio, and waits for ghost text as a person would."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient


@dataclass(frozen=True, slots=True)
class Key:
    """One key typed: what the editor got for it, and how long that took from the key to the answer."""

    text: str
    latency_ms: float
    suggestion: str | None


class Editor:
    """One document in one server process. Columns are UTF-16 units, as VS Code counts."""

    def __init__(self) -> None:
        self._client = LanguageClient("tersely-bench", "1")
        self._uri = ""
        self._version = 0
        self._line = 0
        self._character = 0

    async def start(self, root: Path, settings: dict[str, Any]) -> None:
        """Start `tersely lsp` on `root` with `settings`, and shake hands."""
        await self._client.start_io(sys.executable, "-m", "tersely", "lsp", cwd=str(root))
        await self._client.initialize_async(
            types.InitializeParams(
                capabilities=types.ClientCapabilities(),
                initialization_options={"tersely": settings},
                workspace_folders=[types.WorkspaceFolder(uri=root.as_uri(), name=root.name)],
            )
        )
        self._client.initialized(types.InitializedParams())

    async def stop(self) -> None:
        """Say goodbye, as the protocol wants it."""
        await self._client.shutdown_async(None)
        self._client.exit(None)
        await self._client.stop()

    def open(self, path: Path, language_id: str, text: str, offset: int) -> None:
        """Open a document, with the cursor at `offset`."""
        self._uri, self._version = path.as_uri(), 1
        before = text[:offset]
        self._line = before.count("\n")
        self._character = _utf16(before.rpartition("\n")[2])
        item = types.TextDocumentItem(uri=self._uri, language_id=language_id, version=1, text=text)
        self._client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def close(self) -> None:
        """Close the document."""
        self._client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(self._uri)))

    async def type(self, text: str) -> Key:
        """Type `text` at the cursor and ask for ghost text; the clock runs from before the change is sent."""
        started_s = time.perf_counter()
        place = types.Position(self._line, self._character)
        self._version += 1
        self._client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(version=self._version, uri=self._uri),
                [types.TextDocumentContentChangePartial(range=types.Range(place, place), text=text)],
            )
        )
        if "\n" in text:
            self._line += text.count("\n")
            self._character = _utf16(text.rpartition("\n")[2])
        else:
            self._character += _utf16(text)
        suggestion = await self.ask()
        return Key(text, (time.perf_counter() - started_s) * 1000, suggestion)

    async def ask(self) -> str | None:
        """Ghost text at the cursor; None where there is none."""
        answer = await self._client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(trigger_kind=types.InlineCompletionTriggerKind.Automatic),
                text_document=types.TextDocumentIdentifier(self._uri),
                position=types.Position(self._line, self._character),
            )
        )
        items = answer.items if isinstance(answer, types.InlineCompletionList) else answer or []
        return str(items[0].insert_text) if items else None

    async def wait_until_ready(self, *, limit_s: float = 120.0) -> None:
        """Ask until the engine is loaded and has something to say."""
        give_up_s = time.monotonic() + limit_s
        while await self.ask() is None:
            if time.monotonic() > give_up_s:
                raise TimeoutError("no ghost text: is the engine up? `tersely doctor` tells")
            await asyncio.sleep(0.1)


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
