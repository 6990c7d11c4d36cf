"""Asks git about a workspace that nobody vouches for. Knows no refactoring."""

from __future__ import annotations

import subprocess
from pathlib import Path

_CAREFUL = (
    "--no-pager",
    "--literal-pathspecs",  # a file may be named *, or :(top)
    # Files of a clone that look like a repository of their own would bring a configuration, which names commands.
    "-c", "safe.bareRepository=explicit",
    "-c", "core.fsmonitor=false",
)  # fmt: skip


def git(root: Path, *arguments: str) -> str | None:
    """What git prints, run in `root`; None where it fails, or is not there. Paths as arguments are no patterns."""
    try:
        done = subprocess.run(
            ["git", *_CAREFUL, *arguments], cwd=root, capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
