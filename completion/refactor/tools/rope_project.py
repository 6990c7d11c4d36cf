"""Rope on an overlay: a temporary mirror of its Python files, in which rope looks; what it would change is read off.

Rope works on a folder. The mirror holds Python files alone, so that no configuration of the workspace is executed, and
nothing is ever imported: dynamic analysis is off, and modules outside the workspace are looked up in the standard
library only. Rope never writes to the mirror: its changes are carried over into the overlay.
"""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rope.base import exceptions
from rope.base.change import Change, ChangeContents, ChangeSet, CreateResource, MoveResource, RemoveResource
from rope.base.project import Project, get_no_project
from rope.base.resources import File, Folder

from completion.refactor.overlay import Overlay
from completion.refactor.source import NO_PYTHON
from model.errors import RefusedError

_PREFERENCES: dict[str, Any] = {
    "automatic_soa": False,
    "soa_followed_calls": 0,
    "perform_doa": False,
    "save_objectdb": False,
    "save_history": False,
    "validate_objectdb": False,
    "ignore_syntax_errors": True,
    "ignore_bad_imports": True,
    "import_dynload_stdmods": False,
    "extension_modules": [],
    "ignored_resources": [],
}


class _Quiet(Project):  # type: ignore[misc]
    """A project that looks for other modules in the standard library only, whatever runs this process."""

    def get_python_path_folders(self) -> list[Folder]:
        """The folders where modules of others are looked for."""
        return [get_no_project().get_resource(sysconfig.get_path("stdlib"))]


class Mirror:
    """The Python files of an overlay as a rope project. Made by `mirror`."""

    def __init__(self, overlay: Overlay, folder: Path) -> None:
        self._overlay = overlay
        self._folder = folder.resolve()
        for path in overlay.paths(language="python"):
            if path.endswith(".pyi") or any(part.startswith(".") for part in path.split("/")):
                continue
            file = self._folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                file.write_bytes(overlay.read(path).encode(overlay.encoding(path)))
            except (RefusedError, UnicodeEncodeError):
                continue  # not text: rope could not read it either
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # rope warns of its own ways
            self.project = _Quiet(str(self._folder), ropefolder=None, **_PREFERENCES)
        self.project.prefs.imports.preferred_import_style = "from-global"

    def file(self, path: str) -> File:
        """A file of the project. Raises `RefusedError` where rope cannot see it."""
        try:
            resource = self.project.get_resource(path)
        except exceptions.ResourceNotFoundError as error:
            raise RefusedError(f"{path} is no Python module.", hint="This tool works on Python files.") from error
        if not isinstance(resource, File):
            raise RefusedError(f"{path} is no file.", hint="Name a Python file.")
        return resource

    def files(self, paths: Collection[str]) -> list[File]:
        """Those of the paths that the project has, in their order: where rope is to look for names."""
        return [self.file(path) for path in sorted(paths) if (self._folder / path).is_file()]

    def folder(self, path: str) -> Folder:
        """A folder of the project, made where it is missing."""
        (self._folder / path).mkdir(parents=True, exist_ok=True)
        return self.project.get_resource(path) if path else self.project.root

    def carry_over(self, changes: Change) -> None:
        """Have the overlay as rope's changes say. Raises `RefusedError` for a file that must not be changed."""
        for change in _flat(changes):
            if isinstance(change, ChangeContents):
                self._overlay.write(change.resource.path, change.new_contents)
            elif isinstance(change, MoveResource):
                self._move(change.resource.path, change.new_resource.path)
            elif isinstance(change, RemoveResource):
                self._overlay.remove(change.resource.path)
            elif isinstance(change, CreateResource) and not change.resource.is_folder():
                self._overlay.write(change.resource.path, "")

    def _move(self, path: str, to_path: str) -> None:
        held = [one for one in self._overlay.paths() if one == path or one.startswith(path + "/")]
        for one in held:
            self._overlay.move(one, to_path + one[len(path) :])


@contextmanager
def mirror(overlay: Overlay) -> Iterator[Mirror]:
    """A mirror for one call. What rope cannot do becomes a `RefusedError`."""
    folder = Path(tempfile.mkdtemp(prefix="tersely-rope-"))
    try:
        made = Mirror(overlay, folder)
        yield made
        made.project.close()
    except exceptions.RopeError as error:
        message = str(error).strip() or type(error).__name__
        raise RefusedError(f"Rope refuses: {message}", hint="Choose another place or another change.") from error
    except (AttributeError, IndexError, KeyError, TypeError, *NO_PYTHON) as error:
        # Rope meets code that it does not understand with whatever its internals raise.
        raise RefusedError(
            f"Rope cannot do this here ({type(error).__name__}: {error}).", hint="Choose another change."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flat(change: Change) -> Sequence[Change]:
    if isinstance(change, ChangeSet):
        return [one for inner in change.changes for one in _flat(inner)]
    return [change]
