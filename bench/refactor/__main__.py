"""Wishes end to end with the embedded model on held-out packages: `python -m bench.refactor`.

A wish is planned by the model and carried out by the tools. It is exact when every file that it leaves behind is the
one that the right calls leave. Beside it: rope's own command for the same change, which is told all that the model
must find out, and the same base writing the changed definition freely.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from bench import results
from bench.quality.measure import rate
from bench.refactor.peers import by_free_editing, by_rope
from bench.refactor.wishes import DECLINES, Task, make_tasks, outcome, unpack
from completion.refactor.asking import AskingTuned
from completion.refactor.calls import Decline, LookingCall
from completion.refactor.overlay import Overlay
from completion.refactor.planner import ModelPlanner
from completion.refactor.tools.looking import look
from model.errors import PullError
from model.hub import pull
from model.local import LocalEngine
from model.paths import cache_dir
from model.registry import TOOLS_MODEL
from model.train.collect import fetch_all
from model.train.start import shipped_adapter

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of one wish."""

    task: Task
    after: Mapping[str, str | None]
    declined: bool = False
    tokens: int = 0
    prompt_tokens: int = 0
    plan_s: float = 0.0
    tool_s: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether the files are those that were wished for."""
        return dict(self.after) == dict(self.task.after)

    @property
    def broken(self) -> int:
        """How many of the changed Python files no longer parse."""
        return sum(not _parses(text) for path, text in self.after.items() if text is not None and path.endswith(".py"))


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


async def by_tools(engine: LocalEngine, task: Task) -> Done:
    """Plan with the model, carry out with the tools."""
    overlay, path = Overlay(task.root), task.wish.view.path

    def answer(call: LookingCall) -> str:
        return look(call, overlay, prefer=path)

    began = time.monotonic()
    plan = await ModelPlanner(AskingTuned(engine)).plan(task.wish, answer)
    planned = time.monotonic()
    declined = any(isinstance(call, Decline) for call in plan.calls)
    after = {} if declined else await asyncio.to_thread(outcome, plan.calls, task.root, prefer=path)
    return Done(
        task=task,
        after=after,
        declined=declined,
        tokens=plan.completion_tokens,
        prompt_tokens=plan.prompt_tokens,
        plan_s=planned - began,
        tool_s=time.monotonic() - planned,
    )


def measure(done: Sequence[Done]) -> dict[str, Any]:
    """Rates and costs."""
    act = [one for one in done if one.task.kind not in DECLINES]
    refuse = [one for one in done if one.task.kind in DECLINES]
    found: dict[str, Any] = {
        "wishes": len(act),
        "exact_diff": rate([one.exact for one in act]),
        "other_change": rate([bool(one.after) and not one.exact for one in act]),
        "broken_files": sum(one.broken for one in done),
        "median_tokens": statistics.median(one.tokens for one in act),
        "median_prompt_tokens": statistics.median(one.prompt_tokens for one in act),
        "median_plan_s": round(statistics.median(one.plan_s for one in act), 2),
        "median_tool_s": round(statistics.median(one.tool_s for one in act), 2),
    }
    if refuse:
        found["wishes_to_decline"] = len(refuse)
        found["rightly_declined"] = rate([one.declined for one in refuse])
        found["nothing_changed"] = rate([not one.after for one in refuse])
    kinds = sorted({one.task.kind for one in done})
    found["by_kind"] = {
        kind: {
            "wishes": sum(one.task.kind == kind for one in done),
            "right": sum((one.declined if kind in DECLINES else one.exact) for one in done if one.task.kind == kind),
        }
        for kind in kinds
    }
    return found


async def contend(
    checkpoint: Path, adapter: Path, tasks: Sequence[Task], *, peers: bool, told: Callable[[dict[str, Any]], object]
) -> None:
    """The figures of everybody; `told` hears them after each, so that a run that is cut short leaves what it has."""
    engine = await asyncio.to_thread(LocalEngine.load, checkpoint, adapter=adapter, threads=1)
    try:
        figures = {"tools": measure([await by_tools(engine, task) for task in tasks])}
    finally:
        await engine.aclose()
    told(figures)
    if peers:
        acts = [task for task in tasks if task.kind not in DECLINES]
        roped = [one for one in [await asyncio.to_thread(_by_rope, task) for task in acts] if one is not None]
        figures["rope"] = measure(roped)
        told(figures)
        engine = await asyncio.to_thread(LocalEngine.load, checkpoint, threads=1)
        try:
            free = [one for one in [await _by_free_editing(engine, task) for task in acts] if one is not None]
        finally:
            await engine.aclose()
        figures["free editing"] = measure(free)
        told(figures)


def _by_rope(task: Task) -> Done | None:
    began = time.monotonic()
    after = by_rope(task)
    return None if after is None else Done(task=task, after=after, tool_s=time.monotonic() - began)


async def _by_free_editing(engine: LocalEngine, task: Task) -> Done | None:
    began = time.monotonic()
    found = await by_free_editing(engine, task)
    if found is None:
        return None
    return Done(task=task, after=found[0], tokens=found[1], plan_s=time.monotonic() - began)


def draw(figures: dict[str, Any], path: Path) -> None:
    """Exact diffs of everybody, and right declines."""
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    rows = [(f"{name}: exact diff", found["exact_diff"]) for name, found in figures["contenders"].items()]
    rows.append(("tools: declined rightly", figures["contenders"]["tools"]["rightly_declined"]))
    shares = [one["share"] for _, one in rows]
    errors = [[one["share"] - one["low"] for _, one in rows], [one["high"] - one["share"] for _, one in rows]]
    axes.barh(range(len(rows)), shares, xerr=errors)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set(xlabel="share of wishes, with 95 % interval", xlim=(0, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Parse, make the wishes, ask, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.refactor", description=__doc__)
    parser.add_argument("--adapter", type=Path, help="the adapter to measure; by default the shipped one")
    parser.add_argument("--share", type=float, default=1.0, help="of the wishes of each kind")
    parser.add_argument("--no-peers", action="store_true", help="leave rope and free editing out")
    parser.add_argument("--name", default="refactor", help="of the result files")
    arguments = parser.parse_args()
    packages = cache_dir() / "held-out-packages"
    if missing := fetch_all(packages, held_out=True):
        raise PullError(
            f"Held-out packages could not be fetched: {', '.join(missing)}.", hint="Is there a network, and npm?"
        )
    adapter = arguments.adapter or shipped_adapter(TOOLS_MODEL)
    if adapter is None:
        parser.error("The tool model brings no adapter to measure. Give --adapter FILE.")
    with tempfile.TemporaryDirectory(prefix="tersely-refactor-") as folder:
        root = Path(folder).resolve()
        tasks = list(make_tasks(unpack(packages / "held-out", root), root, share=arguments.share))
        about = {"adapter": results.sha256(adapter), "share": arguments.share}

        def told(contenders: dict[str, Any]) -> None:
            figures = about | {"contenders": contenders}
            written = results.save(arguments.name, figures)
            draw(figures, written.with_suffix(".png"))
            print(written.read_text(encoding="utf-8"), flush=True)

        asyncio.run(contend(pull(TOOLS_MODEL), adapter, tasks, peers=not arguments.no_peers, told=told))


if __name__ == "__main__":
    main()
