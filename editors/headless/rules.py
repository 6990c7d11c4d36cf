"""Rules learned from a git revision: what its commit did to each file, as pairs of texts before and after."""

from __future__ import annotations

import subprocess
from pathlib import Path

from completion.language import detect
from completion.refactor.learn import Pair
from model.errors import UsageError


def pairs_of(root: Path, revision: str) -> list[Pair]:
    """The files that a commit changed, in known languages, with their texts on both sides.

    Raises `UsageError` where git knows no such commit, or it changed no source file.
    """
    wanted = ["-r", "--root", "--no-commit-id", "--name-only", "--diff-filter=M", "-z"]
    said = _git(root, "diff-tree", *wanted, revision, "--")
    if said is None:
        raise UsageError(f"git knows no commit {revision} here.", hint="Give a commit of this repository, as HEAD.")
    pairs = []
    for path in said.split("\0"):
        if not path or detect(path=path).blocks == "none":
            continue
        before, after = _git(root, "show", f"{revision}^:{path}"), _git(root, "show", f"{revision}:{path}")
        if before is not None and after is not None:
            pairs.append(Pair(path=path, before=before, after=after))
    if not pairs:
        raise UsageError(f"{revision} changed no source file.", hint="Give the commit with the two edits.")
    return pairs


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-pager", *arguments], cwd=root, capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
