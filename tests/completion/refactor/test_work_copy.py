"""The copy in which a check runs is the tree, whatever was done to either since the last time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from completion.refactor.work_copy import LEFT_OUT, LINKED, WorkCopy
from tests.completion.refactor.casefile import write_files

FILES = {"a.py": "a = 1\n", "pkg/b.py": "b = 1\n", "pkg/sub/c.py": "c = 1\n", "pkg/__pycache__/b.pyc": "x",
         ".venv/lib/dep.py": "dep = 1\n", "pkg/venv/kept.py": "k = 1\n"}  # fmt: skip


def contents(folder: Path) -> dict[str, object]:
    """Everything below a folder: bytes and mode of files, targets of links, None for folders."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] in LINKED and "/" in name:
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime)
    return found


def reference(root: Path, folder: Path) -> dict[str, object]:
    """A plain copy of everything, with links to environments: slow, and obviously right."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root, folder, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in LINKED:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
            (folder / name).symlink_to(root / name)
    return contents(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_files(tmp_path / "tree", FILES)
    (tmp_path / "tree" / "a.py").chmod(0o750)
    (tmp_path / "tree" / "link.py").symlink_to("pkg/b.py")
    (tmp_path / "tree" / "empty").mkdir()
    return tmp_path / "tree"


def test_it_is_the_tree(root: Path, tmp_path: Path) -> None:
    copy = WorkCopy(root)
    assert copy.refresh({}) == len(FILES) - 1 + 1  # the link too, and the environment as one; no cache
    assert contents(copy.folder) == reference(root, tmp_path / "plain")
    assert (copy.folder / ".venv").is_symlink()
    assert copy.refresh({}) == 0, "nothing has changed"


def test_what_was_done_to_it_is_undone(root: Path, tmp_path: Path) -> None:
    copy = WorkCopy(root)
    copy.refresh({"a.py": b"a = 2\n", "new/d.py": b"d = 1\n", "pkg/b.py": None})
    assert (copy.folder / "a.py").read_bytes() == b"a = 2\n"
    assert (copy.folder / "new" / "d.py").exists()
    assert not (copy.folder / "pkg" / "b.py").exists()
    inner = copy.folder / "pkg" / "sub"
    before = (inner / "c.py").stat()
    (inner / "c.py").write_text("c = 9\n")
    os.utime(inner / "c.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    (inner / "left").write_text("x")
    (copy.folder / "pkg" / "__pycache__").mkdir()
    (copy.folder / "link.py").unlink()
    (copy.folder / "link.py").mkdir()
    shutil.rmtree(copy.folder / "empty")
    (copy.folder / "empty").write_text("a file")
    (copy.folder / ".venv").unlink()
    copied = copy.refresh({})
    assert contents(copy.folder) == reference(root, tmp_path / "plain")
    assert copied == 5  # a.py, b.py, c.py, link.py and the environment's link


def test_the_tree_goes_on(root: Path, tmp_path: Path) -> None:
    copy = WorkCopy(root)
    copy.refresh({})
    old = (root / "a.py").stat()
    (root / "a.py").write_text("a = 3\n")
    os.utime(root / "a.py", ns=(old.st_atime_ns, old.st_mtime_ns))
    (root / "pkg" / "sub" / "c.py").unlink()
    (root / "pkg" / "b.py").replace(root / "b.py")
    (root / "pkg" / "b.py").mkdir()
    copy.refresh({})
    assert contents(copy.folder) == reference(root, tmp_path / "plain")


def test_what_the_command_writes_stays_in_the_copy(root: Path) -> None:
    before = contents(root)
    copy = WorkCopy(root)
    copy.refresh({})
    subprocess.run("echo x >> a.py; echo y >> pkg/b.py; rm -r pkg/sub", shell=True, cwd=copy.folder, check=True)
    assert contents(root) == before


def test_git_works_in_it_with_borrowed_objects(root: Path) -> None:
    def git(folder: Path, *arguments: str) -> str:
        named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *named, *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    git(root, "init", "-q")
    git(root, "add", "a.py", "pkg/b.py")
    git(root, "commit", "-q", "-m", "first")
    first = git(root, "rev-parse", "HEAD")
    copy = WorkCopy(root)
    copy.refresh({"a.py": b"a = 2\n"})
    assert not any((copy.folder / ".git" / "objects").rglob("[0-9a-f]" * 38))
    assert git(copy.folder, "diff", "--name-only") == "a.py"
    git(copy.folder, "commit", "-q", "-a", "-m", "second")
    assert git(copy.folder, "rev-list", "--count", "HEAD") == "2"
    assert git(root, "rev-parse", "HEAD") == first
    copy.refresh({})
    assert git(copy.folder, "rev-parse", "HEAD") == first
    assert git(copy.folder, "fsck") == ""


def test_the_copy_goes_with_its_owner(root: Path) -> None:
    copy = WorkCopy(root)
    copy.refresh({})
    folder = copy.folder
    del copy
    assert not folder.parent.exists()


def test_a_tree_that_has_no_room_is_not_begun(root: Path) -> None:
    """A file of holes: small in a clone, and larger than the disk in a copy."""
    with (root / "data.bin").open("wb") as file:
        file.truncate(1 << 42)
    copy = WorkCopy(root)
    with pytest.raises(OSError, match="needs 4398"):
        copy.refresh({})
    assert list(copy.folder.iterdir()) == []
    (root / "data.bin").unlink()
    copy.refresh({})
    with (root / "a.py").open("ab") as file:
        file.truncate(1 << 42)
    with pytest.raises(OSError, match="needs 4398"):
        copy.refresh({})
