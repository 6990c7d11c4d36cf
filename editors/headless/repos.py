"""A wish over many repositories: one process for each, on this machine or on a Ray cluster.

Each repository is a `tersely refactor` of its own, so that nothing one of them does can hurt another. A process that
is killed is run again, and takes up what it had written (`--resume`): nothing is lost, and nothing is done twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import UsageError
from model.rooms import environment

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoReport:
    """What came of a repository: the lines of its report, and its exit code. `said`: its words, where it failed."""

    repo: str
    lines: tuple[dict[str, Any], ...]
    exit_code: int
    said: str = ""


def read_repos(file: Path) -> list[str]:
    """The repositories of a list, one path a line; blank lines and `#` lines are passed over.

    Raises `UsageError` for a list that cannot be read, or a path that is no folder.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", hint="Give a text file of paths.") from error
    repos = [str((file.parent / line).resolve()) for line in lines if line and not line.startswith("#")]
    missing = [repo for repo in repos if not Path(repo).is_dir()]
    if missing or not repos:
        named = f"{missing[0]} is no folder" if missing else f"{file} names no repository"
        raise UsageError(f"{named}.", hint="Give one path a line, relative to the list.")
    return repos


def command_for(repo: str, arguments: Sequence[str]) -> list[str]:
    """The process of one repository. `arguments`: the wish and the options that are the same for all."""
    # -P: the folder that the user stands in may hold a tersely.py of somebody else's.
    return [sys.executable, "-P", "-m", "tersely", "refactor", *arguments, "--json", "--resume", repo]


def run_here(commands: Sequence[tuple[str, list[str]]], *, jobs: int) -> Iterator[RepoReport]:
    """Run the processes on this machine, `jobs` at a time; reports come as they are done."""
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        waiting = [pool.submit(_patiently, repo, command) for repo, command in commands]
        for one in as_completed(waiting):
            yield one.result()


def run_on_ray(commands: Sequence[tuple[str, list[str]]], *, address: str, jobs: int) -> Iterator[RepoReport]:
    """Run the processes on a Ray cluster (`address`; "local" starts one here with `jobs` workers).

    Its nodes need tersely and the same paths. A worker that dies has its repository run again elsewhere. Raises
    `UsageError` where Ray is not installed or cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("Ray is not installed.", hint="pip install 'tersely[batch]'") from error
    try:
        if address == "local":
            ray.init(num_cpus=max(1, jobs), include_dashboard=False, log_to_driver=False, configure_logging=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"Ray cannot be reached at {address}: {error}", hint="Give its address, or local.") from error

    def run(repo: str, command: list[str]) -> tuple[str, int, str, str]:
        # Pickled by value: the workers know nothing of this module.
        import subprocess

        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        return repo, done.returncode, done.stdout, done.stderr

    try:
        remote = ray.remote(num_cpus=1, max_retries=_ATTEMPTS)(run)
        waiting = [remote.remote(repo, command) for repo, command in commands]
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1)
            yield _report(*ray.get(ready[0]))
    finally:
        ray.shutdown()


def worst(reports: Iterable[RepoReport]) -> int:
    """The exit code of all: the first that is not 0."""
    return next((report.exit_code for report in reports if report.exit_code), 0)


def _patiently(repo: str, command: list[str], run: Callable[..., Any] = subprocess.run) -> RepoReport:
    """Run a process, and again where it was killed."""
    for attempt in range(_ATTEMPTS):
        done = run(command, capture_output=True, text=True, errors="replace", check=False, env=environment())
        if done.returncode >= 0 or attempt == _ATTEMPTS - 1:
            break
    return _report(repo, done.returncode, done.stdout, done.stderr)


def _report(repo: str, exit_code: int, out: str, said: str) -> RepoReport:
    lines = []
    for line in out.splitlines():
        try:
            data = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(data, dict):
            lines.append({"repo": repo, **data})
    code = exit_code if exit_code >= 0 else 1
    return RepoReport(repo=repo, lines=tuple(lines), exit_code=code, said=said.strip()[-2000:] if exit_code else "")
