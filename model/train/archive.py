"""Packages as PyPI and npm publish them: fetching by the registries' own clients, and reading without unpacking.

It knows nothing about what makes a file good to learn from.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from model.errors import PullError
from model.train.licence import from_python_metadata

_SUFFIXES = (".py", ".ts", ".tsx", ".js", ".jsx", ".mjs")
_MAX_MEMBER_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Package:
    """A published package: its metadata, and its source files as (path inside the package, text)."""

    ecosystem: str
    name: str
    version: str
    licence: str
    files: tuple[tuple[str, str], ...]


def fetch(name: str, version: str, *, ecosystem: str, folder: Path, timeout_s: float = 300.0) -> None:
    """Download one package into `folder`, without its dependencies and without running any of its code.

    A file of that version that is there already is kept.

    Raises:
        PullError: the client failed; its last line says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if ecosystem == "pypi":
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{name}=={version}"]
        pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    else:
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}"]
        pattern = f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if any(fnmatch(path.name.lower(), pattern.lower()) for path in folder.iterdir()):
        return
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PullError(f"{name} could not be fetched: {error}", hint=f"Is {command[0]} installed?") from error
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PullError(f"{name} could not be fetched: {why}", hint="Check the name and the network, or leave it out.")


def read(path: Path) -> Package | None:
    """Read a wheel, or an npm tarball. None: it is neither."""
    if path.suffix == ".whl":
        return _read_wheel(path)
    if path.suffix == ".tgz":
        return _read_npm(path)
    return None


def _read_wheel(path: Path) -> Package:
    with zipfile.ZipFile(path) as wheel:
        infos = [info for info in wheel.infolist() if is_source(info.filename, info.file_size)]
        files = tuple((info.filename, _decode(wheel.read(info))) for info in infos)
        meta = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = _decode(wheel.read(meta))
    name, version = path.name.split("-")[:2]
    return Package("pypi", name.replace("_", "-").lower(), version, from_python_metadata(metadata), files)


def _read_npm(path: Path) -> Package:
    with tarfile.open(path) as tarball:
        files = tuple(_members(tarball))
        manifest = json.loads(_text_of(tarball, "package/package.json"))
    licence = manifest.get("license", "")
    if isinstance(licence, dict):
        licence = licence.get("type", "")
    return Package("npm", manifest["name"], manifest["version"], str(licence), files)


def _members(tarball: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    for member in tarball:
        handle = tarball.extractfile(member) if is_source(member.name, member.size) else None
        if handle is not None:
            yield member.name.split("/", 1)[-1], _decode(handle.read())


def _text_of(tarball: tarfile.TarFile, name: str) -> str:
    for member in tarball:
        # A few tarballs name their top folder otherwise than npm does.
        if member.name == name or (member.name.count("/") == 1 and member.name.endswith("/package.json")):
            handle = tarball.extractfile(member)
            if handle is not None:
                return _decode(handle.read())
    raise PullError("An npm tarball has no package.json.", hint="Delete it and fetch it again.")


def is_source(name: str, size_bytes: int) -> bool:
    """Whether a file may be source of the languages that are trained on, by name and size."""
    return name.endswith(_SUFFIXES) and not name.endswith(".d.ts") and 0 < size_bytes <= _MAX_MEMBER_BYTES


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n")
