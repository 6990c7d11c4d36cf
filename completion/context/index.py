"""Keeps a root's index true to its files: all of them at the start, and those that changed later.

Runs wherever it is called, and blocks: the server calls it in a process of its own (`completion.context.worker`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from completion.context.extract import extract
from completion.context.scanner import MAX_BYTES, Found, Scanner, read_source
from completion.context.store import Entry, Stamp, Store
from completion.language import detect
from completion.plain_file import read_plain
from model.paths import cache_dir

_BATCH_CHARACTERS = 4_000_000
"""A transaction's size: what a kill loses at most, against the cost of a commit."""


def index_file(root: Path) -> Path:
    """Where the index of a root is kept."""
    digest = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return cache_dir() / "index" / f"{digest}.sqlite"


class Indexer:
    """Writes one root's index."""

    def __init__(self, root: Path, store: Store) -> None:
        self.scanner = Scanner(root)
        self._store = store

    def reconcile(self) -> Iterator[int]:
        """Index what is new or changed, forget what is gone; yields the number of files looked at, file by file.

        A file whose size and time are as they were is not opened.
        """
        self.scanner.refresh()
        known = self._store.known()
        batch: list[Entry] = []
        changed = characters = 0
        for number, found in enumerate(self.scanner.walk(), start=1):
            if (entry := self._read(found, known.pop(found.path, None))) is not None:
                batch.append(entry)
                changed += 1
                characters += len(entry.text)
                if characters > _BATCH_CHARACTERS:
                    self._store.put(batch)
                    batch, characters = [], 0
            yield number
        self._store.put(batch)
        # A file that turned binary or generated was dropped by `_read`; what is left in `known` was not met at all.
        self._store.remove(known)
        if changed or known:
            self._store.settle()

    def refresh(self, paths: Iterable[str]) -> int:
        """Look at these files and folders alone (relative, with `/`); returns how many were indexed or forgotten."""
        known = self._store.known_of([inner for path in paths for inner in self._files(path)])
        entries, gone = [], []
        for path, stamp in known.items():
            found = self.scanner.look(path)
            if found is None:
                gone += [path] if stamp is not None else []
            elif (entry := self._read(found, stamp)) is not None:
                entries.append(entry)
        self._store.put(entries)
        self._store.remove(gone)
        return len(entries) + len(gone)

    def _files(self, path: str) -> Iterator[str]:
        """The path itself; of what is or was a folder, all that is or was in it."""
        yield path
        yield from self._store.paths_below(path)
        if (self.scanner.root / path).is_dir() and not self.scanner.ignores(f"{path}/_"):
            yield from (found.path for found in self.scanner.walk(path))

    def _read(self, found: Found, known: Stamp | None) -> Entry | None:
        """The file, read; None where the index is true already, or the file is not to be indexed."""
        if known is not None and (known.size_bytes, known.mtime_ns) == (found.size_bytes, found.mtime_ns):
            return None
        try:
            content = read_plain(self.scanner.root / found.path, most_bytes=MAX_BYTES)
        except OSError:
            content = None
        if content is None:
            return None  # gone since it was listed, or something else; the next look removes it
        digest = hashlib.blake2b(content, digest_size=16).digest()
        stamp = Stamp(size_bytes=len(content), mtime_ns=found.mtime_ns, hash=digest)
        if known is not None and known.hash == digest:
            self._store.touch(found.path, stamp)
            return None
        text = read_source(content)
        if text is None:
            if known is not None:
                self._store.remove([found.path])
            return None
        facts = extract(text, detect(path=found.path, text=text).id)
        return Entry(path=found.path, stamp=stamp, text=text, facts=facts)
