"""`tersely refactor` on one workspace: its units side by side, each written as soon as it is whole, or none at all.

What is asked of a model is `completion.refactor.session`'s matter; how reports look on a terminal is the command's.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from completion.language import detect
from completion.refactor.journal import Journal
from completion.refactor.session import Report, Session, Unit
from completion.refactor.tools.rewrite import Rule
from editors.headless.git import git
from editors.headless.target import project_root
from model.errors import EngineError, RefusedError, UsageError

_LINES = re.compile(r"^(?P<path>.+):(?P<first>\d+)(?:-(?P<last>\d+))?$")


class Each(StrEnum):
    """What a wish is made for, one by one."""

    FILE = "file"
    PACKAGE = "package"
    REPO = "repo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is wished, of which units of one root. Either `rule` or `instruction` says what."""

    units: tuple[Unit, ...]
    instruction: str = ""
    rule: Rule | None = None
    jobs: int = 1

    @property
    def key(self) -> str:
        """What tells this wish from others, when a run is taken up again."""
        said = f"{self.instruction}\n{self.rule}\n{[one.label for one in self.units]}"
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def root_of(paths: Sequence[str]) -> Path:
    """The one workspace that holds the paths. Raises `UsageError` for none, or for more than one."""
    roots = set()
    for path in paths:
        file = Path(_split(path)[0]).absolute()
        if not file.exists():
            raise UsageError(f"There is no {path}.", hint="Give files or folders that exist.")
        roots.add(project_root(file / "x" if file.is_dir() else file).resolve())
    if len(roots) != 1:
        raise UsageError(f"The paths belong to {len(roots)} workspaces.", hint="Run it once for each, or give --repos.")
    return roots.pop()


def units_of(session: Session, paths: Sequence[str], each: Each | None) -> tuple[Unit, ...]:
    """The units among the paths. Without `each`: every path that was given is one, the root's folder the whole.

    Raises `UsageError` for a selection of lines in a folder.
    """
    given = [_unit(session.root, path) for path in paths]
    if each is None:
        return tuple(given)
    if each is Each.REPO:
        return (Unit(),)
    files = {path for unit in given for path in session.overlay.paths(under=unit.path)}
    sources = sorted(path for path in files if detect(path=path).blocks != "none")
    if each is Each.FILE:
        return tuple(Unit(path=path) for path in sources)
    return tuple(Unit(path=folder) for folder in sorted({path.rpartition("/")[0] for path in sources}))


async def run_batch(
    session: Session, batch: Batch, *, journal: Journal | None, resume: bool, told: Callable[[Report, str], None]
) -> list[Report]:
    """Run all units, at most `batch.jobs` side by side. With a `journal` each change is written as it is made.

    `told` hears each report as it comes, with the unified diff of what was written ("" without a journal). With
    `resume`, units that an interrupted run has written are passed over. Raises the engine's error where it failed
    for every unit.
    """
    group, written = _group(batch, journal, resume=resume)
    limit = asyncio.Semaphore(max(1, batch.jobs))
    failures: list[EngineError] = []

    async def one(unit: Unit) -> Report:
        shown = ""

        def write() -> None:
            nonlocal shown
            if journal is not None:
                shown = session.overlay.diff()
                journal.apply(session.overlay.changes(), label=unit.label, group=group)
                session.overlay.settle()

        async with limit:
            try:
                if batch.rule is not None:
                    report = await session.run_rule(unit, batch.rule, done=write)
                else:
                    report = await session.run(unit, batch.instruction, done=write)
            except EngineError as error:
                failures.append(error)
                report = Report(unit=unit.label, status="failed", reason=str(error))
        told(report, shown)
        return report

    units = [unit for unit in batch.units if unit.label not in written]
    reports = list(await asyncio.gather(*(one(unit) for unit in units)))
    if failures and len(failures) == len(units):
        raise failures[0]
    return reports


def refuse_dirty(root: Path) -> None:
    """Raises `RefusedError` where git knows of changes that are not committed. Without git nothing is known."""
    said = git(root, "status", "--porcelain", "--untracked-files=no")
    if said is not None and said.strip():
        count = len(said.strip().split("\n"))
        raise RefusedError(
            f"{count} {'file has' if count == 1 else 'files have'} changes that are not committed.",
            hint="Commit them first, or give --force.",
        )


def start_branch(root: Path, name: str) -> None:
    """Make a branch and go to it. Raises `RefusedError` where git cannot."""
    if git(root, "switch", "--quiet", "--create", name) is None:
        raise RefusedError(f"The branch {name} cannot be made.", hint="Is there one, or no git repository?")


def commit(root: Path, reports: Sequence[Report], message: str) -> None:
    """Commit what the reports changed, and nothing else. Raises `RefusedError` where git cannot."""
    changed = sorted({path for report in reports for path in report.changed})
    if not changed:
        return
    added = git(root, "add", "--all", "--", *changed)
    if added is None or git(root, "commit", "--quiet", "--message", message, "--", *changed) is None:
        raise RefusedError("git cannot commit the change; the files are written.", hint="Commit them by hand.")


def _group(batch: Batch, journal: Journal | None, *, resume: bool) -> tuple[str, set[str]]:
    """The name under which this run's changes are undone together, and the units that are written already."""
    if journal is None:
        return "", set()
    if resume:
        journal.resume()
        runs = [run for run in journal.runs() if run.group.startswith(batch.key) and run.state == "done"]
        if runs:
            group = runs[0].group
            return group, {run.label for run in runs if run.group == group}
    return f"{batch.key}-{time.time_ns()}", set()


def _unit(root: Path, path: str) -> Unit:
    name, lines = _split(path)
    file = Path(name).absolute()
    inside = file.resolve().relative_to(root).as_posix() if file.resolve() != root else ""
    if lines is not None and not file.is_file():
        raise UsageError(f"{name} has no lines.", hint="Give FILE:FIRST-LAST.")
    return replace(Unit(path=inside), lines=lines)


def _split(path: str) -> tuple[str, tuple[int, int] | None]:
    """A path, and the lines that are selected in it: `FILE:3-9`."""
    match = None if Path(path).exists() else _LINES.match(path)
    if match is None:
        return path, None
    first = int(match["first"])
    return match["path"], (first, int(match["last"] or first))
