"""Writes a change to disk so that it can be taken back, and so that a crash leaves each file either old or new.

A run is a folder in the state directory: the bytes before and after of each file, and a manifest. The run counts from
the moment its manifest stands under its name; then each file is replaced by one rename. A run without its end mark was
interrupted: `resume` finishes it, `undo` takes it back; both may themselves be interrupted, and be called again.
What is not kept: owners, and links between files. Nobody else may look into the folder, whatever the files' modes are.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock

from completion.refactor.disk import disk_errors, sync_folder, write
from completion.refactor.overlay import Change, digest
from model import paths
from model.errors import RefusedError

State = Literal["applying", "done", "undoing", "undone"]


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a run. The digests are "" where there is no file."""

    path: str
    old: str
    new: str
    mode: int


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    root: str
    label: str
    entries: tuple[_Entry, ...]
    group: str = ""
    mark: str = ""
    """In the names of files that are written beside those that they replace: no workspace can know it before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A change that was written, or begun to be."""

    name: str
    label: str
    state: State
    paths: tuple[str, ...]
    group: str = ""


_HALF_WRITTEN = (
    "Free some space or see to its permissions; then --resume finishes the change, and --undo takes it back."
)


def _nothing(step: str) -> None:
    del step


class Journal:
    """The runs of one root. One process writes at a time: others wait for its lock."""

    def __init__(
        self, root: Path, *, folder: Path | None = None, keep: int = 50, step: Callable[[str], None] = _nothing
    ) -> None:
        """`folder`: where runs are kept; none: the state directory. `keep`: how many old runs stay.

        `step` is told before every act on the disk; tests die there.
        """
        self.root = root.resolve()
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        self.folder = (paths.state_dir() / "refactor" if folder is None else folder) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._keep = keep
        self._step = step
        self._lock = FileLock(self.folder / "lock")

    def apply(self, changes: Sequence[Change], *, label: str, group: str = "") -> Run | None:
        """Write the changes; None where there are none. Runs of one group are undone together.

        Raises `RefusedError`, with nothing written, where a file is not any more what was read, or an earlier run was
        interrupted; and where the disk fails, which says whether anything was written.
        """
        if not changes:
            return None
        with self._lock:
            self._no_unfinished()
            with disk_errors("Nothing was written."):
                for change in changes:
                    self._unchanged(change)
                try:
                    run = self._prepare(changes, label, group)
                finally:
                    self._forget_drafts()
            self._finish(run)
            self._forget_old(group)
            return self._run(run)

    def unfinished(self) -> Run | None:
        """The run that was interrupted, if there is one."""
        return next((run for run in self.runs() if run.state in ("applying", "undoing")), None)

    def runs(self) -> list[Run]:
        """All runs that are kept, the last first."""
        return [self._run(folder) for folder in self._folders()]

    def resume(self) -> Run | None:
        """Finish the run that was interrupted. Raises `RefusedError` where somebody changed its files since."""
        with self._lock:
            run = self.unfinished()
            if run is None:
                return None
            folder = self.folder / run.name
            self._take_back(folder) if run.state == "undoing" else self._finish(folder)
            return self._run(folder)

    def undo(self) -> list[Run]:
        """Take the last run back, with the others of its group. Raises `RefusedError` where there is none, or where
        one of its files was changed since: of that run nothing is written then.
        """
        with self._lock:
            folders = [one for one in self._folders() if self._state(one) != "undone"]
            if not folders:
                raise RefusedError("There is nothing to undo here.", hint="Undo works on what --apply wrote.")
            group = self._manifest(folders[0]).group
            taken = folders[:1]
            if group:
                taken = [one for one in folders if self._manifest(one).group == group]
            for folder in taken:
                self._take_back(folder)
            return [self._run(folder) for folder in taken]

    def _prepare(self, changes: Sequence[Change], label: str, group: str) -> Path:
        last = self._folders()
        number = 1 + (int(last[0].name) if last else 0)
        draft = self.folder / f"draft-{number:06}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        entries = []
        for index, change in enumerate(changes):
            self._step(f"keep {change.path}")
            for name, content in (("old", change.seen), ("new", change.content)):
                if content is not None:
                    write(draft / f"{index}.{name}", content)
            like = change.path if change.seen is not None else change.origin
            mode = 0 if like is None else self._mode(like)
            entries.append(_Entry(path=change.path, old=digest(change.seen), new=digest(change.content), mode=mode))
        manifest = _Manifest(
            root=os.fsencode(self.root).decode("utf-8", "backslashreplace"), label=label, entries=tuple(entries),
            group=group, mark=secrets.token_hex(8),
        )  # fmt: skip
        write(draft / "manifest.json", msgspec.json.encode(manifest))
        self._step("commit")
        run = self.folder / f"{number:06}"
        draft.rename(run)
        sync_folder(self.folder)
        return run

    def _finish(self, folder: Path) -> None:
        manifest = self._manifest(folder)
        with disk_errors(_HALF_WRITTEN):
            self._only_ours(manifest.entries, "finish")
            for index, entry in enumerate(manifest.entries):
                temporary = self._temporary(manifest, index)
                if self._current(entry.path) != entry.new:
                    self._put(entry, folder / f"{index}.new" if entry.new else None, temporary, "finish")
                self._sweep(temporary)
            self._step("mark done")
            write(folder / "done", b"")

    def _take_back(self, folder: Path) -> None:
        manifest = self._manifest(folder)
        with disk_errors(_HALF_WRITTEN):
            self._only_ours(manifest.entries, "undo")
            self._step("mark undoing")
            write(folder / "undoing", b"")
            for index, entry in enumerate(manifest.entries):
                temporary = self._temporary(manifest, index)
                if self._current(entry.path) != entry.old:
                    self._put(entry, folder / f"{index}.old" if entry.old else None, temporary, "undo")
                self._sweep(temporary)
            self._step("mark undone")
            write(folder / "undone", b"")

    def _put(self, entry: _Entry, content: Path | None, temporary: Path, deed: str) -> None:
        """Have a file with this content, or none. What somebody wrote into it until the last moment is not lost."""
        file = self.root / entry.path
        self._inside(file, entry.path)
        if content is None:
            self._step(f"remove {entry.path}")
            self._only_ours((entry,), deed)
            file.unlink(missing_ok=True)
            self._drop_empty(file.parent)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        self._step(f"write {entry.path}")
        temporary.unlink(missing_ok=True)
        write(
            temporary,
            content.read_bytes(),
            before_sync=lambda: self._step(f"written {entry.path}"),
            mode=0o600 if entry.mode else 0o666,
        )
        if entry.mode:
            temporary.chmod(entry.mode)
        self._step(f"replace {entry.path}")
        try:
            self._only_ours((entry,), deed)
        except RefusedError:
            temporary.unlink()
            raise
        os.replace(temporary, file)
        sync_folder(file.parent)

    def _temporary(self, manifest: _Manifest, index: int) -> Path:
        """What is written before it replaces a file of the run: beside it, under a name that nothing else has."""
        return (self.root / manifest.entries[index].path).with_name(f".{manifest.mark}-{index}.tersely-new")

    def _sweep(self, temporary: Path) -> None:
        """Take away what a crash left half-written beside a file."""
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)
        if temporary.parent.is_dir():
            self._drop_empty(temporary.parent)

    def _drop_empty(self, folder: Path) -> None:
        """Folders that held only what was removed go too, as git has it."""
        while folder != self.root and folder.is_relative_to(self.root):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _inside(self, file: Path, path: str) -> None:
        """Raises where a link was put in the way since the change was made."""
        if file.is_symlink() or not file.parent.resolve().is_relative_to(self.root):
            raise RefusedError(f"{path} leads out of {self.root} by now.", hint="Remove the link, then try again.")

    def _unchanged(self, change: Change) -> None:
        file = self.root / change.path
        self._inside(file, change.path)
        if self._current(change.path) != digest(change.seen):
            raise RefusedError(
                f"{change.path} was changed meanwhile.", hint="Nothing was written: ask again, for the new text."
            )

    def _only_ours(self, entries: Sequence[_Entry], deed: str) -> None:
        """Raises where a file is neither as the run found it nor as it left it."""
        changed = [entry.path for entry in entries if self._current(entry.path) not in (entry.old, entry.new)]
        if changed:
            raise RefusedError(
                f"Changed since, so that tersely cannot {deed} what it did: {', '.join(changed[:5])}.",
                hint="Take these files back to how they were (git), then try again.",
            )

    def _no_unfinished(self) -> None:
        run = self.unfinished()
        if run is not None:
            raise RefusedError(
                f"An earlier change was interrupted ({run.label}).",
                hint="`tersely refactor --resume` finishes it, `tersely refactor --undo` takes it back.",
            )

    def _current(self, path: str) -> str:
        """The digest of what lies there; what is no file has none that a run knows."""
        file = self.root / path
        try:
            return digest(file.read_bytes()) if stat.S_ISREG(file.stat().st_mode) else "no file"
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _mode(self, path: str) -> int:
        """0 for what is no file: an editor's buffer may never have been one."""
        file = self.root / path
        return file.stat().st_mode & 0o7777 if file.is_file() else 0

    def _folders(self) -> list[Path]:
        found = [one for one in self.folder.iterdir() if one.name.isdigit()]
        return sorted(found, key=lambda one: one.name, reverse=True)

    def _manifest(self, folder: Path) -> _Manifest:
        return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=_Manifest)

    def _state(self, folder: Path) -> State:
        if (folder / "undone").exists():
            return "undone"
        if (folder / "undoing").exists():
            return "undoing"
        return "done" if (folder / "done").exists() else "applying"

    def _run(self, folder: Path) -> Run:
        manifest = self._manifest(folder)
        files = tuple(entry.path for entry in manifest.entries)
        return Run(name=folder.name, label=manifest.label, state=self._state(folder), paths=files, group=manifest.group)

    def _forget_old(self, group: str) -> None:
        """Old runs go; what belongs to the group at work stays, so that it can be undone as a whole."""
        for folder in self._folders()[self._keep :]:
            if not group or self._manifest(folder).group != group:
                shutil.rmtree(folder, ignore_errors=True)

    def _forget_drafts(self) -> None:
        """What never became a run: who holds the lock may take it away."""
        for draft in self.folder.glob("draft-*"):
            shutil.rmtree(draft, ignore_errors=True)
