"""A workspace with changes that are not written yet: reads go through to disk or to the editor's buffers.

Texts have "\\n" line ends; paths are relative to the root, with forward slashes. What must not be changed is refused
here, at the moment of the change: anything outside the root (links included), ignored, secret, read-only or generated
files. Nothing is ever written to disk: `completion.refactor.journal` does that.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path, PurePosixPath

from completion.context.scanner import Scanner, is_generated, is_secret_name
from completion.language import detect
from completion.plain_file import read_plain
from completion.refactor.source import Source, decode
from model.errors import RefusedError

MAX_BYTES = 4_000_000
"""Larger files are data: they are neither read nor changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one file. `before` is None for a new file, `after` for one that goes. Bytes as on disk.

    `seen` is what lay on disk when it was read (an editor's buffer may differ from it). `origin` is the file that a new
    one was moved from, and takes its mode from.
    """

    path: str
    before: str | None
    after: str | None
    seen: bytes | None
    content: bytes | None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment to which an overlay can be taken back."""

    texts: Mapping[str, str | None]
    manners: Mapping[str, Source]
    origins: Mapping[str, str]


class Overlay:
    """Not for two threads at once."""

    def __init__(self, root: Path, *, buffers: Mapping[str, str] | None = None) -> None:
        """`buffers`: texts of the editor that stand for their files, saved or not.

        Raises `RefusedError` where the root is no folder.
        """
        self.root = root.resolve()
        if not self.root.is_dir():
            raise RefusedError(f"{root} is no folder.", hint="Give the folder that holds the code.")
        self._scanner = Scanner(self.root, max_bytes=MAX_BYTES, empty=True)
        self._buffers = {path: _plain(text) for path, text in (buffers or {}).items()}
        self._texts: dict[str, str | None] = {}
        self._seen: dict[str, bytes] = {}
        self._sources: dict[str, Source] = {}
        self._manners: dict[str, Source] = {}
        self._origins: dict[str, str] = {}
        self._listing: list[str] | None = None

    def paths(self, *, language: str | None = None, under: str = "") -> list[str]:
        """Files that may be read, in the order of their names. `language`: an id of `completion.language`.

        `under`: a file or a folder of the root. Links are left out: their targets stand for themselves.
        """
        if self._listing is None:
            self._listing = [one.path for one in self._scanner.walk() if not self._is_link(one.path)]
        found = {path for path in self._listing if self._texts.get(path, "") is not None}
        found |= {path for path, text in self._texts.items() if text is not None}
        found |= {path for path in self._buffers if self._texts.get(path, "") is not None}
        prefix = _clean(under, empty_ok=True) if under else ""
        return sorted(
            path
            for path in found
            if (not prefix or path == prefix or path.startswith(prefix + "/"))
            and (language is None or detect(path=path).id == language)
        )

    def exists(self, path: str) -> bool:
        """Whether there is such a file that may be read."""
        try:
            self.read(path)
        except RefusedError:
            return False
        return True

    def read(self, path: str) -> str:
        """The text of a file as it stands now. Raises `RefusedError` where there is none that may be read."""
        path = _clean(path)
        if path in self._texts:
            text = self._texts[path]
            if text is None:
                raise RefusedError(f"There is no {path} any more.", hint="It was moved or removed by this change.")
            return text
        if path in self._buffers:
            return self._buffers[path]
        return self._source(path).text

    def write(self, path: str, text: str) -> None:
        """Give a file another text, or make a new one. Raises `RefusedError` for what must not be changed."""
        path = _clean(path)
        self._may_change(path)
        self._texts[path] = _plain(text)

    def remove(self, path: str) -> None:
        """Take a file away. Raises `RefusedError`."""
        path = _clean(path)
        self.read(path)
        self._may_change(path)
        self._texts[path] = None

    def move(self, path: str, to_path: str) -> None:
        """Give a file another path; encoding, line ends and mode go with it.

        Raises `RefusedError`, also if that path exists.
        """
        path, to_path = _clean(path), _clean(to_path)
        if self.exists(to_path) or (self.root / to_path).exists():
            raise RefusedError(f"There is a {to_path} already.", hint="Choose another path.")
        text = self.read(path)
        manner = self._manner(path)
        self.remove(path)
        self.write(to_path, text)
        if manner is not None:
            self._manners[to_path] = manner
        self._origins[to_path] = self._origins.pop(path, path)

    def mark(self) -> Mark:
        """This moment, for `rollback`."""
        return Mark(dict(self._texts), dict(self._manners), dict(self._origins))

    def rollback(self, mark: Mark) -> None:
        """Forget every change since a moment."""
        self._texts, self._manners, self._origins = dict(mark.texts), dict(mark.manners), dict(mark.origins)

    def changed_since(self, mark: Mark) -> tuple[str, ...]:
        """Paths whose text differs from that moment's."""
        return tuple(
            sorted(path for path in {*self._texts, *mark.texts} if self._text_or_none(path) != self._then(mark, path))
        )

    def text_at(self, mark: Mark, path: str) -> str | None:
        """A file's text at that moment; None where there was none."""
        return self._then(mark, path)

    def changes(self) -> tuple[Change, ...]:
        """Everything that differs from what was read. Raises `RefusedError` where a text cannot be encoded."""
        made = []
        for path, after in sorted(self._texts.items()):
            before = self._original(path)
            if before == after:
                continue
            manner = self._manner(path) or Source(text="")
            content = None if after is None else manner.encode(after, path=path)
            seen, origin = self._seen.get(path), self._origins.get(path)
            made.append(Change(path=path, before=before, after=after, seen=seen, content=content, origin=origin))
        return tuple(made)

    def settle(self) -> None:
        """The changes were written: from now on the disk stands for itself again."""
        self._texts.clear()
        self._manners.clear()
        self._origins.clear()
        self._sources.clear()
        self._seen.clear()
        self._listing = None

    def diff(self) -> str:
        """All changes as one unified diff, as git and patch read it."""
        return "".join(_diff(change) for change in self.changes())

    def encoding(self, path: str) -> str:
        """The encoding in which a file is written; UTF-8 for a new one."""
        manner = self._manner(path)
        return "utf-8" if manner is None else manner.encoding

    def _source(self, path: str) -> Source:
        if path not in self._sources:
            content = self._bytes(path)
            self._sources[path] = decode(content, path=path)
            self._seen[path] = content
        return self._sources[path]

    def _bytes(self, path: str) -> bytes:
        file = self.root / path
        if is_secret_name(path):
            raise RefusedError(f"{path} has the name of a secret.", hint="Such files are never read.")
        if not self._inside(path):
            raise RefusedError(f"{path} leads out of {self.root}.", hint="Only files of the root are read.")
        try:
            if not file.is_file():
                raise RefusedError(f"There is no file {path}.", hint="Paths are relative to the root.")
            if self._scanner.ignores(path) or not self._scanner.may_follow(path):
                raise RefusedError(f"{path} is kept out by its name or an ignore file.", hint="Change it by hand.")
            content = read_plain(file, most_bytes=MAX_BYTES)
        except OSError as error:
            raise RefusedError(f"{path} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
        if content is None:
            raise RefusedError(f"{path} is larger than {MAX_BYTES} bytes.", hint="Change it by hand.")
        return content

    def _original(self, path: str) -> str | None:
        if path in self._buffers:
            return self._buffers[path]
        try:
            return self._source(path).text
        except RefusedError:
            return None

    def _manner(self, path: str) -> Source | None:
        if path in self._manners:
            return self._manners[path]
        try:
            return self._source(path)
        except RefusedError:
            return None

    def _text_or_none(self, path: str) -> str | None:
        return self._texts[path] if path in self._texts else self._original(path)

    def _then(self, mark: Mark, path: str) -> str | None:
        return mark.texts[path] if path in mark.texts else self._original(path)

    def _may_change(self, path: str) -> None:
        if not self._inside(path):
            raise RefusedError(f"{path} leads out of {self.root}.", hint="Only files of the root are changed.")
        if self._is_link(path):
            raise RefusedError(f"{path} is a link.", hint="Name the file that it leads to.")
        if is_secret_name(path) or self._scanner.ignores(path):
            raise RefusedError(f"{path} is kept out by its name or an ignore file.", hint="Change it by hand.")
        file = self.root / path
        if not file.exists():
            return
        content = self._seen[path] if self._source(path) and path in self._seen else b""
        if is_generated(path, content):
            raise RefusedError(f"{path} is made by a tool.", hint="Change what it is made from.")
        if not file.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(file, os.W_OK):
            raise RefusedError(f"{path} is read-only.", hint="Make it writable first, if it is meant to change.")

    def _inside(self, path: str) -> bool:
        try:
            return (self.root / path).resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):
            return False

    def _is_link(self, path: str) -> bool:
        parts = path.split("/")
        return any((self.root / "/".join(parts[: depth + 1])).is_symlink() for depth in range(len(parts)))


def digest(content: bytes | None) -> str:
    """What identifies a file's content; "" for no file."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _clean(path: str, *, empty_ok: bool = False) -> str:
    """A path in its one form. Raises `RefusedError` for one that is absolute or climbs."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or re.match(r"^[A-Za-z]:", path) or "\0" in path:
        raise RefusedError(f"{path} is not a path inside the root.", hint="Paths are relative to the root.")
    if not pure.parts and not empty_ok:
        raise RefusedError("A path is empty.", hint="Name a file of the root.")
    return "" if not pure.parts else pure.as_posix()


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(text: str | None) -> list[str]:
    """Lines with their ends; unlike `str.splitlines`, "\\n" alone ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text or "")


def _diff(change: Change) -> str:
    before, after = _lines(change.before), _lines(change.after)
    old = "/dev/null" if change.before is None else f"a/{change.path}"
    new = "/dev/null" if change.after is None else f"b/{change.path}"
    lines = []
    for line in unified_diff(before, after, old, new):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)
