"""Newer programs out of Debian's packages, beside the system and not in it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from tests.editors.tools import cached, run_or_skip


def unpacked(what: str, name: str, *, package: str, suite: str) -> Path:
    """The root folder of `package` and all it needs, of Debian's release `suite`, in the cache under `name`."""
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        pytest.skip(f"{what}: only installed on x86-64 Linux here")

    def install(folder: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip(f"{what}: mmdebstrap needs root here")
        sites = run_or_skip(
            what, "apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", timeout_s=30
        )
        mirror = (sites.split() or ["unknown"])[0]
        run_or_skip(
            what,
            *("mmdebstrap", "--mode=root", "--variant=extract", f"--include={package}"),
            '--aptopt=Acquire::Check-Valid-Until "false"',
            *(suite, folder, mirror),
            timeout_s=300,
        )

    return cached(name, install)


def command(root: Path, program: str) -> list[str]:
    """A program below such a root, run by its own loader with its own libraries."""
    libraries = [root / "usr/lib/x86_64-linux-gnu", root / "lib/x86_64-linux-gnu"]
    loader = libraries[0] / "ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", ":".join(map(str, libraries)), str(root / program)]
