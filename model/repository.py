"""Models of a public hub, `owner/name`, fetched into the cache folder: what is needed of a repository, and no more.

Files of weights are checked against the hashes that the hub publishes. Loads nothing of what it fetches.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from model.checkpoint.gguf_parts import parts_of
from model.errors import DiskFullError, HashMismatchError, ModelMissingError, OfflineError, PullError, UnknownModelError
from model.hub_files import PARTS, HubFiles, endpoint, transport_error
from model.paths import models_dir

Report = Callable[[str, int, int], None]
"""Gets a step in words, the bytes done and the bytes in all. May raise to stop."""

_NAME = re.compile(
    r"(?P<owner>[\w-][\w.-]*)/(?P<name>[\w-][\w.-]*)(?:/(?P<file>[\w./-]+\.gguf))?(?:@(?P<revision>[\w./-]+))?"
)
_BESIDE = (
    "config.json",
    "generation_config.json",
    "params.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model*",
    "tekken.json",
    "chat_template.jinja",
    "README.md",
    "LICENSE*",
)
_WEIGHTS = (
    ("config.json", ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")),
    ("params.json", ("consolidated*.safetensors",)),
    ("params.json", ("consolidated*.pth",)),
)
"""Which weights are read beside which configuration; the first that are there are fetched."""
_MARK = ".tersely.json"
_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Repository:
    """`owner/name`, with `/FILE.gguf` for one file of it (with the other parts of its model), and `@REVISION` for a
    state that is not the newest."""

    identity: str
    file: str | None
    revision: str | None

    @property
    def folder(self) -> Path:
        """Where it is kept; every revision in a place of its own."""
        kept = self.identity.replace("/", "--") + (f"@{self.revision.replace('/', '-')}" if self.revision else "")
        return models_dir() / "repositories" / kept

    @property
    def path(self) -> Path:
        """What is opened: the folder, or the file in it."""
        return self.folder if self.file is None else self.folder / parts_of(self.file)[0]

    @property
    def address(self) -> str:
        """As it was asked for."""
        file = "" if self.file is None else f"/{self.file}"
        return f"{self.identity}{file}" + (f"@{self.revision}" if self.revision else "")


def parse(text: str) -> Repository | None:
    """A repository by its name; None for what is none."""
    match = _NAME.fullmatch(text)
    if match is None or ".." in text:
        return None
    return Repository(f"{match['owner']}/{match['name']}", match["file"], match["revision"])


def find(repository: Repository) -> Path:
    """Where a pulled repository lies. Raises `ModelMissingError`."""
    whole = _whole(repository)
    if whole is None:
        raise ModelMissingError(
            f"The model {repository.address} is not on this machine, or not all of it.",
            hint=f"Run `tersely model pull {repository.address}`.",
        )
    return whole


def fetch(repository: Repository, *, offline: bool, report: Report) -> Path:
    """Fetch what is not there yet; return the path to open.

    What is interrupted goes on at the next call. Raises `OfflineError`, `UnknownModelError`, `HashMismatchError`,
    `DiskFullError` and `PullError`.
    """
    found = _whole(repository)
    if found is not None:
        return found
    if offline:
        raise OfflineError(
            f"The model {repository.address} must be fetched, and TERSELY_OFFLINE forbids it.",
            hint=f"Fetch it elsewhere, and put its folder here as {repository.folder}, or give its path as the model.",
        )
    with _hub_errors(repository):
        hub = HubFiles(repository.identity, revision=repository.revision, folder=repository.folder)
        wanted = choose(repository, hub.files)
        _forget_other_states(repository, hub.commit)
        _require_room(repository, sum(hub.files[name] for name in wanted))
        total, done = sum(hub.files[name] for name in wanted), 0
        for name in wanted:
            hub.download(name, partial(_tell, report, done, total))
            done += hub.files[name]
        _check(repository, {name: digest for name, digest in hub.digests.items() if name in wanted}, report)
    shutil.rmtree(repository.folder / PARTS, ignore_errors=True)
    mark = {"revision": hub.commit, "files": {name: hub.files[name] for name in wanted}}
    (repository.folder / _MARK).write_text(json.dumps(_joined(repository, mark)), encoding="utf-8")
    return repository.path if repository.file is not None else _opened(repository, wanted)


def _tell(report: Report, before: int, total: int, count: int) -> None:
    report("downloading", before + count, total)


def choose(repository: Repository, files: Mapping[str, int]) -> list[str]:
    """The files of a listing (with sizes in bytes) that are needed, small ones first. Raises `PullError`."""
    beside = [name for name in files if any(fnmatchcase(name, pattern) for pattern in _BESIDE)]
    if repository.file is not None:
        parts = parts_of(repository.file)
        if not files.keys() >= set(parts):
            lacks = "has no file" if repository.file not in files else "has not all parts of"
            raise PullError(f"{repository.identity} {lacks} {repository.file}.", hint=f"It has {_some(_ggufs(files))}.")
        return parts
    for configuration, patterns in _WEIGHTS:
        weights = [name for name in files if any(fnmatchcase(name, pattern) for pattern in patterns)]
        if configuration in files and any(not name.endswith(".json") for name in weights):
            return sorted({*beside, *weights}, key=lambda name: files[name])
    ggufs = _ggufs(files)
    if _are_one(ggufs):
        return ggufs
    if ggufs:
        raise PullError(
            f"{repository.identity} has {len(ggufs)} GGUF files: {_some(ggufs)}.",
            hint=f"Name the one you want: `tersely model pull {repository.identity}/{ggufs[0]}`.",
        )
    raise PullError(
        f"{repository.identity} holds no weights that tersely reads.",
        hint="Use a repository with safetensors beside a config.json or params.json, or with GGUF files.",
    )


def _forget_other_states(repository: Repository, commit: str) -> None:
    """A folder of files of two states would be no model. Single files are checked each by its own hash."""
    state = repository.folder / PARTS / "commit"
    started = state.read_text(encoding="utf-8") if state.is_file() else _mark(repository).get("revision")
    if repository.file is None and started not in (None, commit):
        shutil.rmtree(repository.folder)
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(commit, encoding="utf-8")


def _whole(repository: Repository) -> Path | None:
    """The path to open, if all files that were wanted are there in their sizes."""
    mark = _mark(repository)
    files: Mapping[str, int] = mark.get("files", {})
    wanted = set(files) if repository.file is None else set(parts_of(repository.file))
    if not wanted or not wanted <= files.keys():
        return None
    if repository.file is None and len(_ggufs(files)) == len(files) and not _are_one(_ggufs(files)):
        return None  # single files, pulled one by one
    for name in wanted:
        path = repository.folder / str(name)
        if not path.is_file() or path.stat().st_size != files[str(name)]:
            return None
    return repository.path if repository.file is not None else _opened(repository, files)


def _opened(repository: Repository, files: Mapping[str, int] | list[str]) -> Path:
    """The folder, or the one GGUF file that it holds, or the first of its parts."""
    ggufs = _ggufs(files)
    return repository.folder / ggufs[0] if len(ggufs) == len(files) and _are_one(ggufs) else repository.folder


def _mark(repository: Repository) -> dict[str, Any]:
    try:
        mark = json.loads((repository.folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nothing was pulled, or not to its end
        return {}
    return mark if isinstance(mark, dict) else {}


def _joined(repository: Repository, mark: dict[str, Any]) -> dict[str, Any]:
    """Single files of one state of a repository are pulled one after another into one folder."""
    earlier = _mark(repository)
    if repository.file is not None and earlier.get("revision") == mark["revision"]:
        mark["files"] = {**earlier.get("files", {}), **mark["files"]}
    return mark


def _check(repository: Repository, digests: Mapping[str, str], report: Report) -> None:
    sizes = {name: (repository.folder / name).stat().st_size for name in digests}
    total, done = sum(sizes.values()), 0
    for name, expected in digests.items():
        digest = hashlib.sha256()
        with (repository.folder / name).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                done += len(block)
                report("checking", done, total)
        if digest.hexdigest() != expected:
            (repository.folder / name).unlink()
            raise HashMismatchError(
                f"{name} arrived with SHA-256 {digest.hexdigest()[:12]}…, published is {expected[:12]}…; "
                "it was thrown away.",
                hint="Try again; if it stays so, your mirror serves another file.",
            )


def _require_room(repository: Repository, wanted_bytes: int) -> None:
    repository.folder.mkdir(parents=True, exist_ok=True)
    there_bytes = sum(file.stat().st_size for file in repository.folder.rglob("*") if file.is_file())
    needed = wanted_bytes - there_bytes + _SPARE_BYTES
    free = shutil.disk_usage(repository.folder).free
    if free < needed:
        raise DiskFullError(
            f"{repository.address} needs {needed / 1e9:.1f} GB more; {models_dir()} has {free / 1e9:.1f} GB.",
            hint="Free some space, or set TERSELY_HOME to a folder on another disk.",
        )


@contextmanager
def _hub_errors(repository: Repository) -> Iterator[None]:
    from huggingface_hub import errors

    address = endpoint()
    try:
        yield
    except errors.GatedRepoError as error:
        raise PullError(
            f"{repository.identity} is gated: its owners want to be asked first.",
            hint=f"Ask for access at {address}/{repository.identity}, then run `hf auth login` or set HF_TOKEN.",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise UnknownModelError(
            f"{address} has no model {repository.address}, or it is private.",
            hint="Check the name; for a private one, log in with `hf auth login` or set HF_TOKEN.",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise OfflineError(
            f"The model {repository.address} must be fetched, and HF_HUB_OFFLINE forbids it.", hint="Unset it."
        ) from error
    except (errors.HfHubHTTPError, transport_error()) as error:
        raise PullError(
            f"{repository.address} could not be fetched from {address}: {_first_line(error)}.",
            hint="Check the connection and try again: what has arrived is kept, and the rest follows.",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _ggufs(files: Iterable[str]) -> list[str]:
    return sorted(name for name in files if name.endswith(".gguf"))


def _are_one(ggufs: list[str]) -> bool:
    """Are these, in order, one model: a file, or all parts of one?"""
    return bool(ggufs) and ggufs == parts_of(ggufs[0])


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"
