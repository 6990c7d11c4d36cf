"""What an editor would show, where the bench otherwise asks for what the model says: the completer's own answers, with
its stops, its vetoes and its confidence, as somebody types, with the dial where it stands by default."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.quality.journal import Journal
from bench.quality.measure import program, rate
from bench.quality.sandbox import passes
from bench.quality.tasks import Task
from completion import confidence
from completion.api import CompletionRequest
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import Engine

_AT_ONCE = 4
_SETTINGS = CompletionSettings(look_ahead=False, time_limit_ms=None, context=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the completer found for a task's cursor, and whether it is sure enough of that to show it."""

    task: Task
    text: str
    sure: bool

    @property
    def ghost(self) -> str:
        """The ghost text; empty where none is shown."""
        return self.text if self.sure else ""

    @property
    def right(self) -> bool:
        """Whether it is what the author wrote, or the first lines of it."""
        said, wanted = self.ghost.rstrip(), self.task.reference.rstrip()
        return bool(said) and (said == wanted or wanted.startswith(said + "\n"))


def sure(text: str, signals: Mapping[str, float], family: str) -> bool:
    """Whether an editor shows a text with these signals, of a model of that family, at the level that is the
    default."""
    known = confidence.shipped(family)
    return bool(text) and bool(signals) and known.probability(signals) >= known.thresholds[_SETTINGS.level]


async def show_all(engine: Engine, tasks: Sequence[Task], *, journal: Journal) -> list[Shown]:
    """Every task once, those in the journal not again, without other files, and without memory of another cursor."""
    free = asyncio.Semaphore(_AT_ONCE)
    family = (await engine.info()).fim_family

    async def one(task: Task) -> Shown:
        # An editor says which language a buffer is in, also where it has no name.
        request = CompletionRequest(
            text=task.prefix + task.suffix, offset=len(task.prefix), path=task.path, language_id=task.language
        )
        key = f"by the completer: {task.kind} {task.name}"
        async with free:
            said = journal.said(key)
            if said is None:
                found = (await EngineCompleter(engine, _SETTINGS).attempt(request))[0]
                said = {"text": found.text, "signals": dict(found.explanation.signals)}
                journal.keep(key, said)
        return Shown(task, said["text"], sure(said["text"], said["signals"], family))

    return await asyncio.gather(*(one(task) for task in tasks))


def served(shown: Sequence[Shown]) -> dict[str, Any]:
    """How often nothing is shown where nothing is to be added; elsewhere how often something is, and how often that is
    right. The second tells what the first costs."""
    empty = [one for one in shown if one.task.kind == "empty"]
    other = [one for one in shown if one.task.kind != "empty"]
    said = [one for one in other if one.ghost]
    return {
        "nothing": rate([not one.ghost for one in empty]) if empty else None,
        "shown": rate([bool(one.ghost) for one in other]) if other else None,
        "right_of_shown": rate([one.right for one in said]) if said else None,
    }


def served_programs(shown: Sequence[Shown]) -> dict[str, Any]:
    """HumanEval by execution: what the completer found, sure or not, as pass@1 is counted; then what it would show."""
    passed = [passes(program(one.task.program, one.text)) for one in shown]
    sure = [found for found, one in zip(passed, shown, strict=True) if one.ghost]
    return {
        "tasks": len(shown),
        "pass": rate(passed) if shown else None,
        "shown": rate([bool(one.ghost) for one in shown]) if shown else None,
        "pass_of_shown": rate(sure) if sure else None,
    }
