"""What is known of a root at this moment: the index on disk, and over it what the editor's buffers say.

Belongs to one thread. Everything it answers comes from memory or SQLite; it reads no source file.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from completion.context.extract import extract
from completion.context.facts import Definition, Facts
from completion.context.store import Hit, Store

_KEPT_FACTS = 512
_REOPEN_AFTER = 50
"""Questions between two attempts to open an index that is not there yet."""


@dataclass(frozen=True, slots=True)
class _Buffer:
    text: str
    facts: Facts


class Library:
    """Definitions, imports and texts of one root, by path relative to it."""

    def __init__(self, file: Path | None) -> None:
        """`file`: the index; None: there is none, and only open buffers are known."""
        self._file = file
        self._store: Store | None = None
        self._attempts = 0
        self._is_late: Callable[[], bool] | None = None
        self._version = -1
        self._buffers: dict[str, _Buffer] = {}
        self._facts: OrderedDict[str, Facts | None] = OrderedDict()
        self._texts: OrderedDict[str, list[str]] = OrderedDict()
        self._tops: dict[str, tuple[Facts, dict[str, Definition]]] = {}
        self._stems: dict[str, list[str]] = {}
        self.located: dict[tuple[str, str], list[str]] = {}
        """What `completion.context.resolve` found for a module in a folder; holds as long as the index does."""
        self.resolved: dict[tuple[str, str, int], list[tuple[str, Definition]]] = {}
        """The same for names in a file; holds for one question, since buffers change."""

    def refresh(self) -> None:
        """Take note of what was indexed since the last call; what was read before is then read anew."""
        self.resolved.clear()
        store = self._open()
        version = store.version() if store else -1
        if version != self._version:
            self._version = version
            self._facts.clear()
            self._texts.clear()
            self._stems.clear()
            self.located.clear()

    def limit(self, is_late: Callable[[], bool] | None) -> None:
        """Have questions end with `sqlite3.OperationalError` once `is_late()` is true; None: never."""
        self._is_late = is_late
        if self._store is not None:
            self._store.stop_after(2000, is_late)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    # Buffers.

    def put(self, path: str, text: str, language: str) -> None:
        """What the editor shows overrides the disk."""
        held = self._buffers.get(path)
        if held is None or held.text != text:
            self._buffers[path] = _Buffer(text, extract(text, language))

    def forget(self, path: str) -> None:
        """The editor closed it: the disk holds again."""
        self._buffers.pop(path, None)

    def has_buffer(self, path: str) -> bool:
        """Whether the editor shows this file."""
        return path in self._buffers

    # Questions.

    def facts(self, path: str) -> Facts | None:
        """What a file defines and imports; None for a file that is not known."""
        buffer = self._buffers.get(path)
        if buffer is not None:
            return buffer.facts
        if path not in self._facts:
            if self._is_late is not None and self._is_late():
                raise sqlite3.OperationalError("the time is up")  # following imports may lead through many files
            store = self._open()
            self._facts[path] = store.facts(path) if store else None
            if len(self._facts) > _KEPT_FACTS:
                self._facts.popitem(last=False)
        return self._facts[path]

    def top(self, path: str) -> dict[str, Definition]:
        """What a file defines at its top, by name; of several, the first."""
        facts = self.facts(path)
        if facts is None:
            return {}
        held = self._tops.get(path)
        if held is None or held[0] is not facts:
            if len(self._tops) > 2 * _KEPT_FACTS:
                self._tops.clear()
            named = {one.name: one for one in reversed(facts.definitions) if not one.owner}
            self._tops[path] = held = (facts, named)
        return held[1]

    def lines(self, path: str, first: int, last: int) -> str:
        """Lines of a file, both included; empty for a file that is not known."""
        buffer = self._buffers.get(path)
        if buffer is not None:
            return "\n".join(buffer.text.split("\n")[first - 1 : last])
        if path not in self._texts:
            store = self._open()
            self._texts[path] = ((store.text(path) if store else None) or "").split("\n")
            if len(self._texts) > _KEPT_FACTS // 8:
                self._texts.popitem(last=False)
        return "\n".join(self._texts[path][first - 1 : last])

    def paths_with_stem(self, stem: str) -> list[str]:
        """Files whose name without ending (or whose folder, for a package's own file) is `stem`."""
        if stem not in self._stems:
            store = self._open()
            self._stems[stem] = store.paths_with_stem(stem) if store else []
        return self._stems[stem]

    def paths_in_folders(self, name: str) -> list[str]:
        """Files that lie directly in a folder of this name, in the order of paths."""
        store = self._open()
        return store.paths_in_folders(name) if store else []

    def definitions_named(self, name: str, *, most: int = 40) -> list[tuple[str, Definition]]:
        """Where a name is defined: in buffers as they are now, elsewhere as indexed.

        Nothing for a name that more than `most` files define: it says little, and costs much to look up.
        """
        store = self._open()
        paths = store.files_defining(name, limit=most + 1) if store else []
        if len(paths) > most:
            return []
        paths = [path for path in paths if path not in self._buffers] + list(self._buffers)
        return [
            (path, one)
            for path in paths
            if (facts := self.facts(path)) is not None
            for one in facts.definitions
            if one.name == name
        ]

    def in_chunks(self, words: Sequence[str]) -> dict[str, int]:
        """In how many chunks of this root each word stands, about; rare words may be missing."""
        store = self._open()
        return store.in_chunks(words) if store else {}

    def search(self, words: Sequence[str], *, limit: int) -> list[Hit]:
        """Chunks like these words, best first. Files with an open buffer are searched as indexed."""
        store = self._open()
        return store.search(words, limit=limit) if store else []

    def users(self, name: str, *, limit: int) -> list[Hit]:
        """Chunks that have all parts of a name side by side, as they were indexed."""
        store = self._open()
        return store.users(name, limit=limit) if store else []

    def _open(self) -> Store | None:
        if self._store is None and self._file is not None:
            if self._attempts % _REOPEN_AFTER == 0 and self._file.exists():
                try:
                    self._store = Store(self._file)
                except sqlite3.Error:
                    self._store = None  # not made yet, or being made anew
            self._attempts += 1
        return self._store
