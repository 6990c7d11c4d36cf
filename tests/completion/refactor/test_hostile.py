"""Workspaces made to harm: nothing of theirs is run, and nothing outside of them is read or written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from completion.refactor.calls import Definition, OrganizeImports, Rename, Search
from completion.refactor.carry_out import carry_out
from completion.refactor.journal import Journal
from completion.refactor.overlay import Change, Overlay
from completion.refactor.tools import organize
from completion.refactor.tools.looking import look
from completion.refactor.tools.organize import organize_imports
from completion.refactor.verify import problems
from model.errors import RefusedError
from tests.completion.refactor.casefile import write_files

_TRAP = "from pathlib import Path\nPath({trap!r}).touch()\n"


@pytest.mark.parametrize("name", ["ruff.py", "sysconfig.py"])
def test_modules_of_the_workspace_are_not_run_in_place_of_ruff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root, trap = tmp_path / "root", tmp_path / "trap"
    write_files(root, {"a.py": "import sys\nimport os\n\nprint(os, sys)\n", name: _TRAP.format(trap=str(trap))})
    monkeypatch.setenv("PYTHONPATH", ".")
    overlay = Overlay(root)
    organize_imports(OrganizeImports(path="a.py"), overlay)
    assert overlay.read("a.py").startswith("import os\nimport sys\n")
    assert not trap.exists()


@pytest.mark.skipif(os.name != "posix", reason="devices and pipes of POSIX")
def test_a_configuration_that_never_ends_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unbounded, it takes all memory."""
    before = {"a.py": "import sys\nimport os\n\nprint(os, sys)\n"}
    for name, target in {"device": "/dev/zero", "pipe": str(tmp_path / "fifo")}.items():
        write_files(tmp_path / name, {**before, "ruff.toml": f'extend = "{target}"\n'})
        os.mkfifo(tmp_path / "fifo") if name == "pipe" else None
        monkeypatch.setattr(organize, "_TIME_LIMIT_S", 60.0 if name == "device" else 3.0)
        overlay = Overlay(tmp_path / name)
        organize_imports(OrganizeImports(path="a.py"), overlay)
        assert overlay.read("a.py").startswith("import os\nimport sys\n")


def rewritten(root: Path, path: str = "a.py") -> tuple[Change, ...]:
    overlay = Overlay(root)
    overlay.write(path, "new\n")
    return overlay.changes()


def test_what_is_written_beside_a_file_goes_through_no_link_of_the_workspace(tmp_path: Path) -> None:
    """Whatever name a link has: it would have to be known before."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_files(root, {"a.py": "old\n"})
    outside.write_text("mine\n")

    def plant(step: str) -> None:
        if step.startswith("written"):
            seen.extend(file.name for file in root.iterdir() if file.name != "a.py")

    seen: list[str] = []
    Journal(root, folder=tmp_path / "journal", step=plant).apply(rewritten(root), label="try")
    assert len(seen) == 1
    (root / "a.py").write_text("old\n")
    for name in (".a.py.tersely-new", *seen):
        (root / name).symlink_to(outside)
    Journal(root, folder=tmp_path / "journal").apply(rewritten(root), label="try")
    assert outside.read_text() == "mine\n"
    assert not (root / "a.py").is_symlink()
    assert (root / "a.py").read_text() == "new\n"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_bytes_of_private_files_stay_private(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_files(root, {"a.py": "old\n"})
    (root / "a.py").chmod(0o600)
    modes = set[int]()

    def look(step: str) -> None:
        if step.startswith("written"):
            modes.update(file.stat().st_mode & 0o777 for file in root.iterdir())

    Journal(root, folder=tmp_path / "journal", step=look).apply(rewritten(root), label="try")
    assert modes == {0o600}
    assert [folder.stat().st_mode & 0o777 for folder in (tmp_path / "journal").iterdir()] == [0o700]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o600, 0o755])
def test_a_file_that_is_moved_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    root, journal = tmp_path / "root", Journal(tmp_path / "root", folder=tmp_path / "journal")
    write_files(root, {"a.py": "old\n"})
    (root / "a.py").chmod(mode)
    overlay = Overlay(root)
    mark = overlay.mark()
    overlay.move("a.py", "given/up.py")
    overlay.rollback(mark)
    overlay.move("a.py", "on/the/way.py")
    overlay.move("on/the/way.py", "there/b.py")
    overlay.write("given/up.py", "other\n")
    journal.apply(overlay.changes(), label="try")
    assert (root / "there/b.py").stat().st_mode & 0o777 == mode
    assert (root / "given/up.py").stat().st_mode & 0o777 not in (0o600, 0o755)
    journal.undo()
    assert (root / "a.py").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("moment", ["write a.py", "written a.py", "replace a.py"])
def test_what_is_saved_at_the_last_moment_is_not_lost(tmp_path: Path, moment: str) -> None:
    root = tmp_path / "root"
    write_files(root, {"a.py": "old\n"})

    def save(step: str) -> None:
        if step == moment:
            (root / "a.py").write_text("mine\n")

    journal = Journal(root, folder=tmp_path / "journal", step=save)
    with pytest.raises(RefusedError, match=r"a\.py"):
        journal.apply(rewritten(root), label="try")
    assert [file.name for file in root.iterdir()] == ["a.py"]
    assert (root / "a.py").read_text() == "mine\n"
    (root / "a.py").write_text("old\n")
    assert Journal(root, folder=tmp_path / "journal").undo()[0].state == "undone"


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    for number in range(100):
        root, folder = tmp_path / f"{number}", tmp_path / f"journal-{number}"
        write_files(root, {"a.py": "old\n", "b.py": "old\n"})
        left = number

        def fill(step: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        journal = Journal(root, folder=folder, step=fill)
        changes = (*rewritten(root), *rewritten(root, "b.py"))
        refused: RefusedError | None = None
        try:
            journal.apply(changes, label="try")
        except RefusedError as error:
            refused = error
        if refused is None:
            assert number > 8
            return
        assert os.strerror(errno.ENOSPC) in refused.message
        assert not list(journal.folder.glob("draft-*"))
        untouched = "Nothing was written" in refused.hint
        assert untouched == (Journal(root, folder=folder).unfinished() is None)
        if not untouched:
            Journal(root, folder=folder).undo()
        assert {file.name: file.read_text() for file in root.iterdir()} == {"a.py": "old\n", "b.py": "old\n"}
    pytest.fail("the disk was never large enough")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a named pipe")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_files(root, {"a.py": "old\n"})
    changes = rewritten(root)
    (root / "a.py").unlink()
    os.mkfifo(root / "a.py")
    with pytest.raises(RefusedError, match="changed meanwhile"):
        Journal(root, folder=tmp_path / "journal").apply(changes, label="try")


def test_secrets_of_other_files_are_in_no_answer(tmp_path: Path) -> None:
    key = "ghp_" + "q7Zk2Lx9Vb4Nw8Rt1Yc6Hf3Jd5Gs0Mp2Aa9xY8"
    write_files(tmp_path, {"a.py": f"class Login:\n    key = '{key}'\n    name = 'me'\n"})
    for call in (Definition(symbol="Login"), Search(text="key = "), Search(text="name")):
        answer = look(call, Overlay(tmp_path))
        assert key[:20] not in answer
        assert "name = 'me'" in answer or "[redacted]" in answer


DEEP = ["-" * 100_000 + "1\n", "x = " + "a + " * 3000 + "a\n", "x = " + "(" * 60_000]


@pytest.mark.parametrize("text", DEEP, ids=["minus", "sum", "brackets"])
def test_one_file_that_is_too_deep_for_python_does_not_stop_the_others(tmp_path: Path, text: str) -> None:
    write_files(
        tmp_path, {"deep.py": text, "a.py": "def one():\n    return 1\n", "b.py": "from a import one\n\none()\n"}
    )
    problems(text, "deep.py")
    overlay = Overlay(tmp_path)
    outcome = carry_out(Rename(symbol="a.py::one", new_name="uno"), overlay)
    assert outcome.done, outcome.refused
    assert overlay.read("b.py") == "from a import uno\n\nuno()\n"
