"""Rules learned from a git revision: what its commit did to each file, as pairs of texts before and after."""

from __future__ import annotations

from pathlib import Path

from completion.language import detect
from completion.refactor.learn import Pair
from editors.headless.git import git
from model.errors import UsageError


def pairs_of(root: Path, revision: str) -> list[Pair]:
    """The files that a commit changed, in known languages, with their texts on both sides.

    Raises `UsageError` where git knows no such commit, or it changed no source file.
    """
    wanted = ["-r", "--root", "--no-commit-id", "--name-only", "--diff-filter=M", "-z"]
    said = None if revision.startswith("-") else git(root, "diff-tree", *wanted, revision, "--")
    if said is None:
        raise UsageError(f"git knows no commit {revision} here.", hint="Give a commit of this repository, as HEAD.")
    pairs = []
    for path in said.split("\0"):
        if not path or detect(path=path).blocks == "none":
            continue
        before, after = git(root, "show", f"{revision}^:{path}"), git(root, "show", f"{revision}:{path}")
        if before is not None and after is not None:
            pairs.append(Pair(path=path, before=before, after=after))
    if not pairs:
        raise UsageError(f"{revision} changed no source file.", hint="Give the commit with the two edits.")
    return pairs
