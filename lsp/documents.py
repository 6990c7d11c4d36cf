"""The documents that the editor has open, and the workspace roots they lie under. Reads no file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import unquote, urlsplit

from pygls.uris import to_fs_path

from lsp.buffer import Buffer
from lsp.positions import Encoding


@dataclass(slots=True)
class Document:
    """An open document. `path` is relative to `root` where there is one; an untitled document has only its name."""

    uri: str
    language_id: str
    buffer: Buffer
    path: str
    root: str | None


def file_path(uri: str) -> str | None:
    """Absolute path of a `file:` URI; None for any other scheme."""
    if urlsplit(uri).scheme.lower() != "file":
        return None
    path = to_fs_path(uri)
    return os.path.normpath(path) if path else None


def shown_name(uri: str) -> str:
    """What to call a document that is not a file: its URI's path without leading slashes (`Untitled-1`, `src/a.py`)."""
    path = unquote(urlsplit(uri).path).lstrip("/")
    return path or "untitled"


class Documents:
    """Open documents by URI, under any number of workspace roots."""

    def __init__(self) -> None:
        self.encoding = Encoding.UTF16
        self._open: dict[str, Document] = {}
        self._roots: list[str] = []

    def open(self, uri: str, *, language_id: str, version: int, text: str) -> Document:
        path, root = self.locate(uri)
        buffer = Buffer(text, version=version, encoding=self.encoding)
        document = Document(uri=uri, language_id=language_id, buffer=buffer, path=path, root=root)
        self._open[uri] = document
        return document

    def get(self, uri: str) -> Document | None:
        return self._open.get(uri)

    def close(self, uri: str) -> Document | None:
        """Forget a document; returns it if it was open."""
        return self._open.pop(uri, None)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(self._roots)

    def change_roots(self, *, added: list[str], removed: list[str]) -> None:
        """Add and remove workspace roots by URI; open documents are placed anew. Only file roots count."""
        gone = {file_path(uri) for uri in removed}
        new = [path for uri in added if (path := file_path(uri)) is not None]
        self._roots = list(dict.fromkeys([root for root in self._roots if root not in gone] + new))
        for document in self._open.values():
            document.path, document.root = self.locate(document.uri)

    def locate(self, uri: str) -> tuple[str, str | None]:
        """The path to show for a URI, and the deepest root that holds it."""
        path = file_path(uri)
        if path is None:
            return shown_name(uri), None
        holders = [root for root in self._roots if PurePath(path).is_relative_to(root)]
        if not holders:
            return PurePath(path).name or path, None
        root = max(holders, key=len)
        return PurePath(path).relative_to(root).as_posix(), root
