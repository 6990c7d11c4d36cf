"""What context is worth in the end: how often the embedded model writes the masked line, word for word.

`python -m bench.context.exact` asks at each position of a sample three times: with the file alone, with what BM25
finds, and with what the retriever picks, each within the same budget of characters. The line counts as written if it
is the first line of what the model says, blanks at both ends aside. Only the packages that report are asked about.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Any

from bench import results
from bench.context.packages import REPORTING, fetch
from bench.context.quality import Package, Place, position
from bench.context.tasks import Task, sample
from completion.api import CompletionRequest
from completion.context.rank import Budget
from completion.context.redact import redact
from completion.context.retriever import Snippet
from completion.prompt import build_prompt
from completion.settings import PromptBudget
from model.api import GenerateRequest, SamplingParams
from model.hub import pull
from model.local import LocalEngine
from model.registry import DEFAULT_MODEL
from model.train.start import shipped_adapter

CONDITIONS = ("none", "bm25", "ours")
_BM25 = ("definitions", "window")
"""Documents are definitions, as what the retriever shows is: a chunk of 24 lines would be cut to the same budget."""
_MAX_TOKENS = 40
_SEED = 21


def snippets(package: Package, task: Task, condition: str) -> tuple[Snippet, ...]:
    """What a prompt shows of other files."""
    if condition == "none":
        return ()
    if condition == "bm25":
        places = package.bm25(task, *_BM25)[: Budget().snippets]
        return tuple(_snippet(place) for place in places)
    request = CompletionRequest(text=task.text, offset=task.offset, path=task.path, root=task.root)
    return package.picks(request)


def _snippet(place: Place) -> Snippet:
    text = place.text[: Budget().snippet_characters]
    cut = text.rpartition("\n")[0] if len(place.text) > len(text) else text
    return Snippet(
        source="bm25",
        path=place.path,
        first_line=place.first_line,
        last_line=place.last_line,
        text=redact(cut or text),
        reason="",
    )


async def ask(engine: LocalEngine, task: Task, shown: tuple[Snippet, ...]) -> str:
    """The first line that the model says."""
    family = (await engine.info()).fim_family
    prompt = build_prompt(
        text=task.text, offset=task.offset, path=task.path, family=family, budget=PromptBudget(), snippets=shown
    )
    request = GenerateRequest(prompt=prompt.segments, sampling=SamplingParams(max_tokens=_MAX_TOKENS, temperature=0.0))
    said = ""
    async with aclosing(engine.generate(request)) as stream:  # type: ignore[type-var]
        async for chunk in stream:
            said += chunk.text
            if "\n" in said.lstrip("\n"):
                break
    return said.lstrip("\n").partition("\n")[0].strip()


async def measure(engine: LocalEngine, tasks: list[Task], folder: Path) -> dict[str, Any]:
    """Counts of lines written, and of positions at which one condition writes the line and another does not."""
    packages: dict[str, Package] = {}
    right: list[dict[str, bool]] = []
    defined: Counter[str] = Counter()
    for number, task in enumerate(tasks):
        if task.root not in packages:
            packages[task.root] = Package(Path(task.root), folder / f"{Path(task.root).name}.sqlite")
        row = {}
        for condition in CONDITIONS:
            shown = snippets(packages[task.root], task, condition)
            places = [Place(one.path, one.first_line, one.last_line, one.text) for one in shown]
            defined[condition] += position(task, places) is not None
            row[condition] = await ask(engine, task, shown) == task.reference
        right.append(row)
        print(number, Path(task.root).name, row, file=sys.stderr, flush=True)
    count = len(right)
    return {
        "positions": count,
        "exact": {one: round(sum(row[one] for row in right) / max(1, count), 4) for one in CONDITIONS},
        "exact_count": {one: sum(row[one] for row in right) for one in CONDITIONS},
        "definition_shown": {one: round(defined[one] / max(1, count), 4) for one in CONDITIONS},
        "ours_but_not": {one: sum(row["ours"] and not row[one] for row in right) for one in CONDITIONS[:2]},
        "not_ours_but": {one: sum(row[one] and not row["ours"] for row in right) for one in CONDITIONS[:2]},
    }


async def _run(tasks: list[Task], folder: Path) -> dict[str, Any]:
    engine = await asyncio.to_thread(
        LocalEngine.load, pull(DEFAULT_MODEL), adapter=shipped_adapter(DEFAULT_MODEL), threads=1
    )
    try:
        return await measure(engine, tasks, folder)
    finally:
        await engine.aclose()


def main() -> None:
    """Ask, and save `bench/results/context_exact.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.context.exact", description=__doc__)
    parser.add_argument("--positions", type=int, default=120)
    arguments = parser.parse_args()
    tasks = sample(fetch(REPORTING), per_package=30, seed=_SEED)
    chosen = random.Random(_SEED).sample(tasks, min(arguments.positions, len(tasks)))
    chosen.sort(key=lambda task: (task.root, task.path, task.offset))
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_run(chosen, Path(folder)))
    figures["packages"] = list(REPORTING)
    results.save("context_exact", figures)
    print(figures)


if __name__ == "__main__":
    main()
