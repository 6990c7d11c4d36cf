"""One command for every quality figure of the model card: the tuned model beside its base, on the same questions.

`python -m bench.quality` samples (under 30 minutes on two cores); `--full` asks everything. Fetches the held-out
packages with pip and npm on the first run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Any

from bench import results
from bench.quality import measure
from bench.quality.ask import Answer, ask_all
from bench.quality.plot import draw
from bench.quality.tasks import HUMANEVAL, Task, held_out, humaneval
from model.fim import NONE
from model.hub import DEFAULT_MODEL, pull
from model.local import LocalEngine
from model.paths import cache_dir
from model.train.collect import fetch_all
from model.train.cuts import CutKind

SEED = 7
SAMPLED = {CutKind.LINE: 120, CutKind.BLOCK: 40, CutKind.EMPTY: 40}
FULL = {CutKind.LINE: 1000, CutKind.BLOCK: 300, CutKind.EMPTY: 200}
_SAMPLED_HUMANEVAL = 200


async def contend(path: Path, adapter: Path | None, tasks: list[Task], *, threads: int) -> dict[str, Any]:
    """All figures of one model."""
    engine = await asyncio.to_thread(LocalEngine.load, path, adapter=adapter, threads=threads)
    try:
        coding = [task for task in tasks if task.kind == "humaneval"]
        holes = [task for task in tasks if task.kind != "humaneval"]
        began = time.monotonic()
        lines = await ask_all(engine, coding, context=False)
        found: dict[str, Any] = {"humaneval": await asyncio.to_thread(measure.pass_at_1, lines)}
        found["floors"] = await asyncio.to_thread(measure.floors, lines)
        without = await ask_all(engine, holes, context=False)
        knows_snippets = (await engine.info()).fim_family != NONE
        helped = [task for task in holes if knows_snippets and task.snippets and task.kind != "empty"]
        given = {answer.task.name: answer for answer in await ask_all(engine, helped, context=True)}
        with_context = [given.get(answer.task.name, answer) for answer in without]
        counts = {task.reference: 0 for task in holes}
        counted = await engine.count_tokens(tuple(counts))
        counts = dict(zip(counts, counted, strict=True))
        found["held_out"] = {
            language: {
                "without context": _held_out(_of(without, language), counts),
                "with context": _held_out(_of(with_context, language), counts),
            }
            for language in sorted({task.language for task in holes})
        }
        found["held_out_with_snippets"] = len(helped)
        filled = [answer for answer in without if answer.task.kind != "empty"]
        found["calibration"] = {
            "joint": measure.calibration(filled, lambda answer: answer.joint),
            "mean": measure.calibration(filled, lambda answer: answer.confidence),
        }
        found["seconds"] = round(time.monotonic() - began)
        return found
    finally:
        await engine.aclose()


def _of(answers: list[Answer], language: str) -> list[Answer]:
    return [answer for answer in answers if answer.task.language == language]


def _held_out(answers: list[Answer], counts: dict[str, int]) -> dict[str, Any]:
    kinds = {kind: [answer for answer in answers if answer.task.kind == kind] for kind in ("line", "block", "empty")}
    filled = kinds["line"] + kinds["block"]
    return {
        "line": measure.matches(kinds["line"]),
        "block": measure.matches(kinds["block"]),
        "empty": measure.emptiness(kinds["empty"]),
        "terse": measure.terseness(filled, lambda text: counts[text]),
    }


def main() -> None:
    """Parse, fetch, ask, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--full", action="store_true", help="ask all questions (hours), not a sample")
    parser.add_argument("--model", type=Path, help="a checkpoint; by default the embedded model's")
    parser.add_argument("--adapter", type=Path, required=True, help="the adapter to measure")
    parser.add_argument("--no-base", action="store_true", help="leave the untuned base out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="quality", help="of the result files")
    default = Path(os.environ.get("TERSELY_HUMANEVAL", HUMANEVAL))
    parser.add_argument("--humaneval", type=Path, default=default, help="or TERSELY_HUMANEVAL")
    arguments = parser.parse_args()
    packages = cache_dir() / "held-out-packages"
    fetch_all(packages, held_out=True)
    tasks = humaneval(arguments.humaneval, count=None if arguments.full else _SAMPLED_HUMANEVAL, seed=SEED)
    tasks += held_out(packages / "held-out", counts=FULL if arguments.full else SAMPLED, seed=SEED)
    path = arguments.model or pull(DEFAULT_MODEL)
    contenders = {"tuned": arguments.adapter} if arguments.no_base else {"tuned": arguments.adapter, "base": None}
    figures: dict[str, Any] = {"seed": SEED, "full": arguments.full, "tasks": len(tasks), "contenders": {}}
    for name, adapter in contenders.items():
        figures["contenders"][name] = asyncio.run(contend(path, adapter, tasks, threads=arguments.threads))
        written = results.save(arguments.name, figures)
    draw(figures, written.with_suffix(".png"))
    print(written.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
