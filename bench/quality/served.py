"""What an editor would show, where the bench otherwise asks for what the model says: the completer's own answers, with
its stops, its vetoes and its confidence, as somebody types, with the dial where it stands by default."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.quality.journal import Journal
from bench.quality.measure import rate
from bench.quality.tasks import Task
from completion.api import CompletionRequest
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import Engine

_AT_ONCE = 4
_SETTINGS = CompletionSettings(look_ahead=False, time_limit_ms=None, context=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """The ghost text at a task's cursor; empty where none is shown."""

    task: Task
    text: str

    @property
    def right(self) -> bool:
        """Whether it is what the author wrote, or the first lines of it."""
        said, wanted = self.text.rstrip(), self.task.reference.rstrip()
        return bool(said) and (said == wanted or wanted.startswith(said + "\n"))


async def show_all(engine: Engine, tasks: Sequence[Task], *, journal: Journal) -> list[Shown]:
    """Every task once, those in the journal not again, without other files, and without memory of another cursor."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(task: Task) -> Shown:
        request = CompletionRequest(text=task.prefix + task.suffix, offset=len(task.prefix), path=task.path)
        key = f"in an editor: {task.kind} {task.name}"
        async with free:
            said = journal.said(key)
            if said is None:
                found = await EngineCompleter(engine, _SETTINGS).complete(request)
                said = {"text": found[0].text if found else ""}
                journal.keep(key, said)
        return Shown(task, **said)

    return await asyncio.gather(*(one(task) for task in tasks))


def served(shown: Sequence[Shown]) -> dict[str, Any]:
    """How often nothing is shown where nothing is to be added; elsewhere how often something is, and how often that is
    right. The second tells what the first costs."""
    empty = [one for one in shown if one.task.kind == "empty"]
    other = [one for one in shown if one.task.kind != "empty"]
    said = [one for one in other if one.text]
    return {
        "nothing": rate([not one.text for one in empty]) if empty else None,
        "shown": rate([bool(one.text) for one in other]) if other else None,
        "right_of_shown": rate([one.right for one in said]) if said else None,
    }
