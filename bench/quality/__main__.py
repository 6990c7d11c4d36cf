"""One command for every quality figure of the model card: the tuned model beside its base, on the same questions.

`python -m bench.quality` samples (under 30 minutes on two cores); `--full` asks everything (hours); `--quick` asks
for minutes, to compare checkpoints; `--tiny` asks a handful, to see that it works. A run that was ended goes on with
`--resume`. `--model FILE` without an adapter asks that model alone. Fetches the held-out packages with pip and npm
on the first run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import results
from bench.quality import measure
from bench.quality.card import CARD, update
from bench.quality.contender import Contender
from bench.quality.plot import draw
from bench.quality.tasks import HUMANEVAL, Task, held_out, humaneval
from bench.quality.workers import workers
from model.errors import PullError
from model.hub import DEFAULT_MODEL, pull
from model.paths import cache_dir
from model.threads import own_cores
from model.train.adapter import load_adapter
from model.train.collect import fetch_all
from model.train.cuts import CutKind
from model.train.start import shipped_adapter

SEED = 7


@dataclass(frozen=True, slots=True)
class Size:
    """How much to ask. `humaneval` None: all. `holes` are for each language."""

    humaneval: int | None
    holes: dict[CutKind, int]


SIZES = {
    "tiny": Size(4, {CutKind.LINE: 3, CutKind.BLOCK: 1, CutKind.EMPTY: 2}),
    "quick": Size(100, {CutKind.LINE: 40, CutKind.BLOCK: 10, CutKind.EMPTY: 20}),
    "sampled": Size(300, {CutKind.LINE: 150, CutKind.BLOCK: 50, CutKind.EMPTY: 60}),
    "full": Size(None, {CutKind.LINE: 1000, CutKind.BLOCK: 300, CutKind.EMPTY: 200}),
}


def questions(size: Size, *, benchmark: Path) -> list[Task]:
    """The tasks of a size, always the same: raises `PullError` where a package is missing, which would change them."""
    packages = cache_dir() / "held-out-packages"
    if missing := fetch_all(packages, held_out=True):
        raise PullError(
            f"Held-out packages could not be fetched: {', '.join(missing)}.",
            hint="Is there a network, and npm? Other packages would ask other questions.",
        )
    return [
        *humaneval(benchmark, count=size.humaneval, seed=SEED),
        *held_out(packages / "held-out", counts=size.holes, seed=SEED),
    ]


def journal(contender: Contender, tasks: Sequence[Task], *, resume: bool) -> Path:
    """Where a contender's answers to these tasks are kept; with nothing in it unless the run is to go on."""
    asked = hashlib.sha256(results.sha256(contender.checkpoint).encode())
    asked.update(results.sha256(contender.adapter).encode() if contender.adapter else b"")
    for task in tasks:
        asked.update(repr(task).encode())
    path = cache_dir() / "bench" / "quality" / f"{contender.name}-{asked.hexdigest()[:16]}.jsonl"
    if not resume:
        path.unlink(missing_ok=True)
    return path


def contend_all(
    contenders: Sequence[Contender], tasks: Sequence[Task], *, at_once: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each contender's figures, in order, each in a process of its own, `at_once` at a time."""
    with workers(at_once) as pool:
        pending = [(one.name, pool.submit(one.contend, tasks)) for one in contenders]
        for name, future in pending:
            yield name, future.result()


def _contenders(arguments: argparse.Namespace) -> list[Contender]:
    """The tuned model and its base, or another model alone."""
    ask = partial(Contender, threads=arguments.threads)
    if arguments.model and not arguments.adapter:
        return [ask(name=arguments.name, checkpoint=arguments.model)]
    path = arguments.model or pull(DEFAULT_MODEL)
    tuned = ask(name="tuned", checkpoint=path, adapter=arguments.adapter or shipped_adapter(DEFAULT_MODEL))
    return [tuned] if arguments.no_base else [tuned, ask(name="base", checkpoint=path)]


def _described(adapter: Path | None) -> dict[str, Any] | None:
    return None if adapter is None else {"sha256": results.sha256(adapter), "training": load_adapter(adapter).info.note}


def main() -> None:
    """Parse, fetch, ask, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--full", dest="size", action="store_const", const="full", default="sampled")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick")
    parser.add_argument("--tiny", dest="size", action="store_const", const="tiny")
    parser.add_argument("--model", type=Path, help="a checkpoint; by default the embedded model's")
    parser.add_argument("--adapter", type=Path, help="the adapter to measure; by default the embedded model's own")
    parser.add_argument("--no-base", action="store_true", help="leave the untuned base out")
    parser.add_argument("--resume", action="store_true", help="go on with a run of the same command that was ended")
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument("--at-once", type=int, help="contenders at a time; by default as many as there are cores for")
    parser.add_argument("--name", default="quality", help="of the result files; the default also updates the card")
    default = Path(os.environ.get("TERSELY_HUMANEVAL", HUMANEVAL))
    parser.add_argument("--humaneval", type=Path, default=default, help="or TERSELY_HUMANEVAL")
    arguments = parser.parse_args()
    if arguments.model and not arguments.adapter and arguments.name == "quality":
        parser.error("The card is the embedded model's. Give --name for the figures of another one.")
    contenders = _contenders(arguments)
    at_once = arguments.at_once or min(len(contenders), max(1, own_cores() // arguments.threads))
    tasks = questions(SIZES[arguments.size], benchmark=arguments.humaneval)
    contenders = [replace(one, journal=journal(one, tasks, resume=arguments.resume)) for one in contenders]
    figures: dict[str, Any] = {
        "seed": SEED,
        "size": arguments.size,
        "tasks": len(tasks),
        "adapter": _described(contenders[0].adapter),
        "checkpoint": {"file": contenders[0].checkpoint.name, "sha256": results.sha256(contenders[0].checkpoint)},
        "floors": measure.floors(tasks),
        "contenders": {},
    }
    for name, found in contend_all(contenders, tasks, at_once=at_once):
        figures["contenders"][name] = found
        written = results.save(arguments.name, figures)
    draw(figures, written.with_suffix(".png"))
    if arguments.name == "quality" and arguments.size in ("sampled", "full"):
        update(CARD, written)
    print(written.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
