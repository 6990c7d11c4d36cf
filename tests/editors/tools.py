"""Editors for end-to-end tests: installed once into a cache folder of their own, each within a bounded time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

ROOT = Path(__file__).parents[2]


def cached(name: str, install: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; `install` fills it once. A half-filled folder is never taken for a whole one."""
    folder = platformdirs.user_cache_path("tersely-tests") / name
    if not folder.is_dir():
        part = folder.with_name(f"{name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        install(part)
        part.rename(folder)
    return folder


def run_or_skip(what: str, *command: str | Path, timeout_s: float, cwd: Path | None = None) -> str:
    """Run an installer's step; where it fails, the tests that need it are skipped with its last words."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{what}: {command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what}: {command[0]} took more than {timeout_s:.0f} s")
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        pytest.skip(f"{what}: {command[0]} failed: {' / '.join(last)}")
    return done.stdout
