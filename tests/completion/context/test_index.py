"""Whatever happens to the files, an index that is kept up to date equals one that is built anew."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from completion.context.index import Indexer, index_file
from completion.context.store import Store, is_sound
from completion.context.words import CHUNK_LINES


def build(root: Path, file: Path) -> None:
    store = Store(file, writable=True)
    for _ in Indexer(root, store).reconcile():
        pass
    store.close()


def contents(file: Path) -> dict[str, object]:
    """All that can be asked of an index, without row ids."""
    store = Store(file)
    known = store.known()
    everything = {
        path: (stamp.size_bytes, stamp.hash, store.text(path), store.facts(path))
        for path, stamp in sorted(known.items())
    }
    words = {
        word: {(hit.path, hit.first_line) for hit in store.search([word], limit=10_000)}
        for word in ("alpha", "beta", "gamma", "shared", "return")
    }
    store.close()
    return {"files": everything, "words": words}


def test_incremental_equals_from_scratch(tmp_path: Path) -> None:
    root, rng = tmp_path / "root", random.Random(7)
    root.mkdir()
    kept, words = tmp_path / "kept.sqlite", ["alpha", "beta", "gamma"]
    build(root, kept)
    for step in range(12):
        for _ in range(6):
            path = root / rng.choice("abcd") / f"{rng.choice('xyz')}.py"
            path.parent.mkdir(exist_ok=True)
            action = rng.random()
            if action < 0.25 and path.exists():
                path.unlink()
            elif action < 0.4 and path.exists():
                path.rename(path.with_name(f"moved{step}.py"))
            else:
                lines = [f"def {rng.choice(words)}_{number}(shared): return {rng.random()}" for number in range(60)]
                path.write_text("\n".join(lines[: rng.randint(1, 60)]))
        build(root, kept)
        fresh = tmp_path / f"fresh{step}.sqlite"
        build(root, fresh)
        assert contents(kept) == contents(fresh)
        assert is_sound(kept)


def test_refresh_sees_saves_renames_and_deletions(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def first(): pass\n")
    (tmp_path / "b.py").write_text("def second(): pass\n")
    store = Store(tmp_path / "i" / "index.sqlite", writable=True)
    indexer = Indexer(tmp_path, store)
    list(indexer.reconcile())
    (tmp_path / "a.py").write_text("def third(): pass\n")
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert indexer.refresh(["a.py", "b.py", "c.py", "never.py"]) >= 3
    assert not store.files_defining("first", limit=9)
    assert store.files_defining("second", limit=9) == ["c.py"]
    assert store.files_defining("third", limit=9) == ["a.py"]


def test_refresh_follows_folders(tmp_path: Path) -> None:
    for path in ("old/a.py", "old/deep/b.py", "older/c.py", "gone/d.py", "node_modules/e.js"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
    store = Store(tmp_path / "i" / "index.sqlite", writable=True)
    indexer = Indexer(tmp_path, store)
    list(indexer.reconcile())
    (tmp_path / "old").rename(tmp_path / "new")
    shutil.rmtree(tmp_path / "gone")
    assert indexer.refresh(["old", "new", "gone", "node_modules", "never"]) == 5
    assert sorted(store.known()) == ["new/a.py", "new/deep/b.py", "older/c.py"]


def test_a_touched_file_is_not_indexed_again(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    store = Store(tmp_path / "i" / "index.sqlite", writable=True)
    indexer = Indexer(tmp_path, store)
    list(indexer.reconcile())
    os.utime(source, ns=(1, 1))
    assert indexer.refresh(["a.py"]) == 0
    assert store.known()["a.py"].mtime_ns == 1


def test_a_file_that_turns_binary_is_forgotten(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("def gone(): pass\n")
    store = Store(tmp_path / "i" / "index.sqlite", writable=True)
    indexer = Indexer(tmp_path, store)
    list(indexer.reconcile())
    source.write_bytes(b"\0" * 100)
    list(indexer.reconcile())
    assert store.count() == 0
    assert not store.files_defining("gone", limit=9)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_index_is_built_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    file = tmp_path / "index.sqlite"
    file.write_bytes(content)
    build(tmp_path, file)
    assert list(contents(file)["files"]) == ["a.py"]  # type: ignore[call-overload]


def test_an_index_of_another_version_is_built_anew(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    file = tmp_path / "index.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE files(other)")
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(sqlite3.Error):
        Store(file)
    build(tmp_path, file)
    assert list(contents(file)["files"]) == ["a.py"]  # type: ignore[call-overload]


def test_search_finds_parts_of_names_and_tells_lines(tmp_path: Path) -> None:
    blank = "# nothing\n" * CHUNK_LINES
    (tmp_path / "a.py").write_text(blank + "def parseJsonFile(some_path): ...\n")
    file = tmp_path / "index.sqlite"
    build(tmp_path, file)
    store = Store(file)
    for word in ("json", "path"):
        (hit,) = store.search([word])
        assert (hit.path, hit.first_line) == ("a.py", CHUNK_LINES + 1)
    assert [hit.path for hit in store.users("parseJsonFile")] == ["a.py"]
    assert store.users("fileJsonParse") == []
    assert store.search([]) == []
    assert store.users('"') == []


def test_each_root_has_an_index_of_its_own(tmp_path: Path) -> None:
    assert index_file(tmp_path / "a") != index_file(tmp_path / "b")
    assert index_file(tmp_path / "a") == index_file(tmp_path / "x" / ".." / "a")


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname == "Darwin", reason="names are text there")
def test_one_name_that_is_no_text_does_not_keep_the_others_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.py")).write_text("x = 1\n")
    build(root, tmp_path / "index.sqlite")
    store = Store(tmp_path / "index.sqlite")
    assert list(store.known()) == ["a.py"]
    store.close()
