"""A small repository on disk, indexed, and a question at a cursor mark in one of its files."""

from __future__ import annotations

from pathlib import Path

from completion.api import CompletionRequest
from completion.context.index import Indexer
from completion.context.library import Library
from completion.context.retriever import Retriever
from completion.context.store import Store
from tests.cursor import at_cursor


def indexed(folder: Path, files: dict[str, str]) -> Library:
    root = folder / "root"
    for path, text in files.items():
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)
    store = Store(folder / "index.sqlite", writable=True)
    list(Indexer(root, store).reconcile())
    store.close()
    return Library(folder / "index.sqlite")


def ask(library: Library, path: str, source: str) -> tuple[Retriever, CompletionRequest]:
    text, offset = at_cursor(source)
    return Retriever(library, time_limit_ms=None), CompletionRequest(text=text, offset=offset, path=path, root="/")
