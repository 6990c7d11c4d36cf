"""How commands speak: words to people on standard error, data to programs on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from model.errors import TerselyError
from model.status import EngineState, EngineStatus

stdout = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def fail(error: TerselyError, *, as_json: bool) -> int:
    """Say what went wrong and what to do; return the exit code."""
    if as_json:
        print_json({"error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}})
    else:
        stderr.print(f"[red]error:[/red] {_plain(error.message)}")
        if error.hint:
            stderr.print(f"[dim]hint:[/dim] {_plain(error.hint)}")
    return error.exit_code


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


class EngineProgress:
    """A progress line on standard error while an engine starts, pulls or loads; silent where nobody looks."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=stderr,
            transient=True,
            disable=not stderr.is_terminal,
        )
        self._task: TaskID | None = None

    def show(self, status: EngineStatus) -> None:
        """A status listener."""
        if status.state in (EngineState.IDLE, EngineState.READY, EngineState.FAILED):
            self.close()
            return
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(status.message, total=1.0)
        self._progress.update(
            self._task,
            description=status.message or status.state.value,
            completed=status.fraction or 0.0,
            total=None if status.fraction is None else 1.0,
        )

    def close(self) -> None:
        """Take the line away."""
        if self._task is not None:
            self._progress.stop()
            self._task = None
