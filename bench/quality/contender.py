"""One model at the questions: loads it, asks, measures. Knows nothing of who else contends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.quality import measure
from bench.quality.ask import Answer, ask_all
from bench.quality.journal import Journal
from bench.quality.served import served, served_programs, show_all
from bench.quality.tasks import Task
from model.fim import NONE
from model.local import LocalEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A checkpoint, with or without an adapter."""

    name: str
    checkpoint: Path
    adapter: Path | None = None
    threads: int = 1
    journal: Path | None = None
    """Where the answers are kept, and those of an earlier run taken from."""

    def contend(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """All figures of this model."""
        return asyncio.run(self._contend(tasks))

    async def _contend(self, tasks: Sequence[Task]) -> dict[str, Any]:
        engine = await asyncio.to_thread(LocalEngine.load, self.checkpoint, adapter=self.adapter, threads=self.threads)
        journal = Journal(self.journal)
        try:
            began = time.monotonic()
            coding = [task for task in tasks if task.kind == "humaneval"]
            lines = await ask_all(engine, coding, context=False, journal=journal)
            found = {"humaneval": await asyncio.to_thread(measure.pass_at_1, lines)}
            shown = await show_all(engine, coding, journal=journal)
            found["humaneval_served"] = await asyncio.to_thread(served_programs, shown)
            found |= await _fill(engine, [task for task in tasks if task.kind != "humaneval"], journal)
            return found | {"seconds": round(time.monotonic() - began)}
        finally:
            await engine.aclose()


async def _fill(engine: LocalEngine, holes: Sequence[Task], journal: Journal) -> dict[str, Any]:
    without = await ask_all(engine, holes, context=False, journal=journal)
    has_layout = (await engine.info()).fim_family != NONE
    helped = [task for task in holes if has_layout and task.snippets and task.kind != "empty"]
    given = {answer.task: answer for answer in await ask_all(engine, helped, context=True, journal=journal)}
    with_context = [given.get(answer.task, answer) for answer in without]
    references = tuple({task.reference: None for task in holes})
    typed = [task for task in holes if has_layout and task.kind in ("line", "empty")]
    shown = await show_all(engine, typed, journal=journal)
    counts = dict(zip(references, await engine.count_tokens(references), strict=True))
    filled = [answer for answer in without if answer.task.kind != "empty"]
    return {
        "held_out": {
            language: {
                "without context": _measured(_of(without, language), counts),
                "with context": _measured(_of(with_context, language), counts),
            }
            for language in sorted({task.language for task in holes})
        },
        "served": {
            language: served([one for one in shown if one.task.language == language])
            for language in sorted({task.language for task in holes})
        },
        "held_out_with_snippets": len(helped),
        "calibration": {
            "joint": measure.calibration(filled, lambda answer: answer.joint),
            "mean": measure.calibration(filled, lambda answer: answer.confidence),
        },
    }


def _of(answers: list[Answer], language: str) -> list[Answer]:
    return [answer for answer in answers if answer.task.language == language]


def _measured(answers: list[Answer], counts: dict[str, int]) -> dict[str, Any]:
    kinds = {kind: [answer for answer in answers if answer.task.kind == kind] for kind in ("line", "block", "empty")}
    filled = kinds["line"] + kinds["block"]
    return {
        "line": measure.matches(kinds["line"]),
        "block": measure.matches(kinds["block"]),
        "empty": measure.emptiness(kinds["empty"]),
        "terse": measure.terseness(filled, lambda text: counts[text]),
    }
