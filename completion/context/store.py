"""The index of one workspace root as an SQLite file: files, definitions, imports, and words for BM25.

One process writes, any number read (WAL). A transaction holds whole files, so that a process that is killed leaves a
usable index that lacks some. Knows no source tree: who calls brings texts and facts.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from completion.context.facts import Definition, Facts, Import
from completion.context.words import CHUNK_LINES, chunks, spaced

_VERSION = 2
_CHUNK_BITS = 12
"""A chunk's row is its file's id and its own number in these many bits."""
_COUNTED_FROM = 20
"""Of words in fewer chunks it is not kept in how many: they are rare."""
_FTS_BUFFER_BYTES = 32 << 20
"""Words of one transaction are sorted in memory up to here: a transaction writes one run, and fewer runs merge."""
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files(
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stem TEXT NOT NULL,
  size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, hash BLOB NOT NULL, text BLOB NOT NULL, facts BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS files_stem ON files(stem);
CREATE TABLE IF NOT EXISTS names(name TEXT NOT NULL, file INTEGER NOT NULL, PRIMARY KEY(name, file)) WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(body, content='', tokenize='ascii');
INSERT INTO words(words, rank) SELECT 'hashsize', {_FTS_BUFFER_BYTES}
  WHERE NOT EXISTS (SELECT 1 FROM words_config WHERE k = 'hashsize');
CREATE VIRTUAL TABLE IF NOT EXISTS vocabulary USING fts5vocab(words, row);
CREATE TABLE IF NOT EXISTS common(word TEXT PRIMARY KEY, chunks INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells whether a file on disk is the one that was indexed."""

    size_bytes: int
    mtime_ns: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file to index. `path` is relative to the root, with `/`."""

    path: str
    stamp: Stamp
    text: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found; the greater the score, the better."""

    path: str
    first_line: int
    last_line: int
    score: float


class Store:
    """One connection to an index. Not for two threads at once."""

    def __init__(self, file: Path, *, writable: bool = False) -> None:
        """Open an index; a writer makes it, and makes one anew that is damaged or of another version.

        A reader raises `sqlite3.Error` while there is none.
        """
        self.file = file
        if writable:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = _open_writable(file)
        else:
            self._db = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
            if self._db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                self._db.close()
                raise sqlite3.OperationalError("an index of another version")
        self._db.execute("PRAGMA cache_size = -8000")

    def close(self) -> None:
        self._db.close()

    def stop_after(self, steps: int, is_late: Callable[[], bool] | None) -> None:
        """Call `is_late` every `steps` steps of SQLite's machine; a query ends with an error once it returns true."""
        self._db.set_progress_handler(is_late, steps)

    # Writing.

    def known(self) -> dict[str, Stamp]:
        """The stamp of every file that is indexed."""
        rows = self._db.execute("SELECT path, size_bytes, mtime_ns, hash FROM files")
        return {path: Stamp(size_bytes=size, mtime_ns=mtime, hash=digest) for path, size, mtime, digest in rows}

    def known_of(self, paths: Sequence[str]) -> dict[str, Stamp | None]:
        """The stamps of these paths, None for one that is not indexed."""
        stamps: dict[str, Stamp | None] = {}
        for path in paths:
            row = self._db.execute("SELECT size_bytes, mtime_ns, hash FROM files WHERE path = ?", (path,)).fetchone()
            stamps[path] = Stamp(size_bytes=row[0], mtime_ns=row[1], hash=row[2]) if row else None
        return stamps

    def put(self, entries: Iterable[Entry]) -> None:
        """Index files, in place of what was known of them, in one transaction."""
        by_path = {entry.path: entry for entry in entries}
        with self._db:
            for path in by_path:
                self._drop(path)
            self._add(list(by_path.values()))

    def touch(self, path: str, stamp: Stamp) -> None:
        """Take a new stamp for a file whose content is as it was."""
        with self._db:
            self._db.execute(
                "UPDATE files SET size_bytes = ?, mtime_ns = ? WHERE path = ?", (stamp.size_bytes, stamp.mtime_ns, path)
            )

    def remove(self, paths: Iterable[str]) -> None:
        """Forget files, in one transaction."""
        with self._db:
            for path in paths:
                self._drop(path)

    def settle(self) -> None:
        """After many changes: note which words are common, and give the log's space back."""
        with self._db:
            self._db.execute("DELETE FROM common")
            self._db.execute("INSERT INTO common SELECT term, doc FROM vocabulary WHERE doc >= ?", (_COUNTED_FROM,))
        self._db.execute("PRAGMA optimize")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _add(self, entries: Sequence[Entry]) -> None:
        first = self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM files").fetchone()[0]
        numbered = list(enumerate(entries, start=first))
        self._db.executemany(
            "INSERT INTO files(id, path, stem, size_bytes, mtime_ns, hash, text, facts) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    file,
                    entry.path,
                    _stem(entry.path),
                    entry.stamp.size_bytes,
                    entry.stamp.mtime_ns,
                    entry.stamp.hash,
                    _pack(entry.text),
                    _pack(_to_json(entry.facts)),
                )
                for file, entry in numbered
            ),
        )
        # In the order in which they are kept: neighbours fall on one page.
        names = sorted({(one.name, file) for file, entry in numbered for one in entry.facts.definitions})
        self._db.executemany("INSERT INTO names VALUES(?, ?)", names)
        rows = (row for file, entry in numbered for row in _word_rows(file, entry.text))
        self._db.executemany("INSERT INTO words(rowid, body) VALUES(?, ?)", rows)

    def _drop(self, path: str) -> None:
        row = self._db.execute("SELECT id, text, facts FROM files WHERE path = ?", (path,)).fetchone()
        if row is None:
            return
        file, text, facts = row
        # The words table keeps no text: it must be told what it is to forget.
        gone = [("delete", number, body) for number, body in _word_rows(file, _unpack(text))]
        self._db.executemany("INSERT INTO words(words, rowid, body) VALUES(?, ?, ?)", gone)
        names = {one.name for one in _from_json(_unpack(facts)).definitions}
        self._db.executemany("DELETE FROM names WHERE name = ? AND file = ?", [(name, file) for name in names])
        self._db.execute("DELETE FROM files WHERE id = ?", (file,))

    # Reading.

    def version(self) -> int:
        """A number that changes whenever another process has written."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def count(self) -> int:
        """How many files are indexed."""
        return int(self._db.execute("SELECT count(*) FROM files").fetchone()[0])

    def text(self, path: str) -> str | None:
        """The text of a file as it was indexed."""
        row = self._db.execute("SELECT text FROM files WHERE path = ?", (path,)).fetchone()
        return _unpack(row[0]) if row else None

    def paths_below(self, folder: str) -> list[str]:
        """Indexed files in a folder, however deep."""
        rows = self._db.execute("SELECT path FROM files WHERE path >= ? AND path < ?", (f"{folder}/", f"{folder}0"))
        return [path for (path,) in rows]

    def paths_in_folders(self, name: str) -> list[str]:
        """Files that lie directly in a folder of this name, in the order of paths. Reads all paths."""
        rows = self._db.execute(
            "SELECT path FROM files WHERE ('/' || path) GLOB ? ORDER BY path", (f"*/{_literal(name)}/*",)
        )
        return [path for (path,) in rows if path.split("/")[-2] == name]

    def paths_with_stem(self, stem: str) -> list[str]:
        """Files whose name without its ending is `stem`; a package's own file has its folder's name."""
        return [path for (path,) in self._db.execute("SELECT path FROM files WHERE stem = ? LIMIT 200", (stem,))]

    def facts(self, path: str) -> Facts | None:
        """What an indexed file defines and imports, in the file's order."""
        row = self._db.execute("SELECT facts FROM files WHERE path = ?", (path,)).fetchone()
        return None if row is None else _from_json(_unpack(row[0]))

    def files_defining(self, name: str, *, limit: int) -> list[str]:
        """Files that define a name, in the order in which they were indexed."""
        rows = self._db.execute(
            "SELECT path FROM names JOIN files ON files.id = file WHERE name = ? LIMIT ?", (name, limit)
        )
        return [path for (path,) in rows]

    def in_chunks(self, words: Sequence[str]) -> dict[str, int]:
        """In how many chunks each word stood when changes last settled; rare words may be missing."""
        unique = list(dict.fromkeys(words))[:500]
        marks = ",".join("?" * len(unique))
        return dict(self._db.execute(f"SELECT word, chunks FROM common WHERE word IN ({marks})", unique))

    def search(self, words: Sequence[str], *, limit: int = 20) -> list[Hit]:
        """The chunks that best match any of the words, by BM25. Words are as `completion.context.words.parts` gives."""
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in words)
        rows = self._db.execute(
            "SELECT rowid, bm25(words) FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (query, limit)
        ).fetchall()
        hits = []
        for row, score in rows:
            found = self._db.execute("SELECT path FROM files WHERE id = ?", (row >> _CHUNK_BITS,)).fetchone()
            if found:
                first = (row & ((1 << _CHUNK_BITS) - 1)) * CHUNK_LINES + 1
                hits.append(Hit(found[0], first, first + CHUNK_LINES - 1, -score))
        return hits

    def users(self, name: str, *, limit: int = 20) -> list[Hit]:
        """Chunks in which all of a name's parts stand beside each other: where it is defined and where it is used."""
        phrase = " ".join(spaced(name).replace("_", " ").split())
        if not phrase.replace(" ", "").isalnum():
            return []
        return self.search([phrase], limit=limit)


def _open_writable(file: Path) -> sqlite3.Connection:
    for attempt in (1, 2):
        db = sqlite3.connect(file, check_same_thread=False)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError("an index of another version")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            db.close()
            if isinstance(error, sqlite3.OperationalError) or attempt == 2:
                raise
            delete(file)  # damaged, or of another version: it can be built again
        else:
            return db
    raise AssertionError("unreachable")


def delete(file: Path) -> None:
    """Remove an index with what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def is_sound(file: Path) -> bool:
    """Whether SQLite finds nothing wrong with an index, its words included."""
    with closing(sqlite3.connect(file)) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def _word_rows(file: int, text: str) -> list[tuple[int, str]]:
    last = 1 << _CHUNK_BITS
    return [((file << _CHUNK_BITS) | number, body) for number, body in chunks(spaced(text)) if number < last]


def _literal(text: str) -> str:
    """For SQLite's GLOB."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "replace"), 3)


def _unpack(packed: bytes) -> str:
    return zlib.decompress(packed).decode("utf-8", "replace")


def _to_json(facts: Facts) -> str:
    told = [facts.language, facts.definitions, facts.imports]
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _from_json(text: str) -> Facts:
    language, definitions, imports = json.loads(text)
    return Facts(
        language=language,
        definitions=tuple(map(Definition._make, definitions)),
        imports=tuple(map(Import._make, imports)),
    )


_PACKAGE_FILES = frozenset({"__init__", "index", "mod", "lib", "init"})


def _stem(path: str) -> str:
    pure = PurePosixPath(path)
    stem = pure.name.split(".")[0] or pure.name
    return pure.parent.name if stem in _PACKAGE_FILES and pure.parent.name else stem
