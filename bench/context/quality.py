"""Ranks for each task: ours, BM25 alone, and open tabs alone; and the figures that follow from ranks.

A place counts if it shows the line that defines what the masked line uses. What the retriever would show of a place is
a signature with little around it; a chunk shows all of its lines.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.context.bm25 import Bm25
from bench.context.tasks import Task
from bench.results import percentile
from completion.api import CompletionRequest
from completion.context.index import Indexer
from completion.context.library import Library
from completion.context.rank import Budget
from completion.context.retriever import Retriever, Snippet
from completion.context.store import Store
from completion.context.words import CHUNK_LINES, chunks, parts

_LINES_BEFORE, _LINES_AFTER = 12, 6
_TABS = 5
_DEEP = 50
QUERIES = ("window", "imports", "file")
"""What BM25 is asked: the words of the lines around the cursor; these and the imports; the whole file."""
UNITS = ("chunks", "definitions")
BM25 = tuple(f"bm25 of {unit} by {query}" for unit in UNITS for query in QUERIES)
METHODS = ("ours", *BM25, "tabs")
_BUDGET = Budget()
_IMPORT = re.compile(r"^[ \t]*(?:from\s[^\n]*\bimport\s*(?:\([^)]*\)|[^\n]*)|import\s[^\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a file, and what is shown of them."""

    path: str
    first_line: int
    last_line: int
    text: str


def build(root: Path, file: Path) -> None:
    """Index a root."""
    store = Store(file, writable=True)
    for _ in Indexer(root, store).reconcile():
        pass
    store.close()


class Package:
    """One package's index, asked in three ways."""

    def __init__(self, root: Path, file: Path) -> None:
        build(root, file)
        self._store = Store(file)
        self._library = Library(file)
        self._retriever = Retriever(self._library, time_limit_ms=None)
        self._paths = sorted(self._store.known())
        self._places = {unit: list(self._units(unit)) for unit in UNITS}
        self._bm25 = {
            unit: Bm25([parts(f"{one.path} {one.text}") for one in places]) for unit, places in self._places.items()
        }

    def _units(self, unit: str) -> Iterator[Place]:
        for path in self._paths:
            text = self._store.text(path) or ""
            if unit == "chunks":
                for number, body in chunks(text):
                    first = number * CHUNK_LINES + 1
                    yield Place(path, first, first + CHUNK_LINES - 1, body)
            elif facts := self._store.facts(path):
                lines = text.split("\n")
                for one in facts.definitions:
                    last = min(one.last_line, one.first_line + CHUNK_LINES - 1)
                    yield Place(path, one.first_line, last, "\n".join(lines[one.first_line - 1 : last]))

    def ours(self, task: Task) -> tuple[list[Place], float]:
        """Ranked places, and the milliseconds that took."""
        request = CompletionRequest(text=task.text, offset=task.offset, path=task.path, root=task.root)
        # The editor opened the document before the cursor moved in it.
        self._library.put(task.path, task.text, "python")
        started_s = time.thread_time()
        ranked = self._retriever.ranked(request)
        elapsed_ms = (time.thread_time() - started_s) * 1000
        places = [
            Place(one.path, one.first_line, one.last_line, self._retriever.shown(one, _BUDGET))
            for one in (ranked_one.candidate for ranked_one in ranked[:_DEEP])
        ]
        self._library.forget(task.path)
        return places, elapsed_ms

    def picks(self, request: CompletionRequest) -> tuple[Snippet, ...]:
        """What the retriever would put into the prompt."""
        self._library.put(request.path, request.text, "python")
        shown = self._retriever.snippets(request, _BUDGET)
        self._retriever.forget(request.path)
        return shown

    def bm25(self, task: Task, unit: str, query: str) -> list[Place]:
        """Places by BM25 over the words of what the query is made of."""
        found = self._bm25[unit].best(Counter(parts(_asked(task, query))), limit=_DEEP * 4)
        places = [self._places[unit][number] for number in found]
        return [place for place in places if place.path != task.path]

    def tabs(self, task: Task) -> list[Place]:
        """Windows of the files beside this one in its folder (as if they were open), by shared words (Jaccard)."""
        folder = task.path.rpartition("/")[0]
        beside = [path for path in self._paths if path.rpartition("/")[0] == folder and path != task.path]
        here = bisect_left(beside, task.path)
        nearest = sorted(range(len(beside)), key=lambda index: abs(index + 0.5 - here))
        around = set(parts(_around(task)))
        scored: list[tuple[float, Place]] = []
        for path in (beside[index] for index in nearest[:_TABS]):
            lines = (self._store.text(path) or "").split("\n")
            for start in range(0, len(lines), CHUNK_LINES):
                words = set(parts("\n".join(lines[start : start + CHUNK_LINES])))
                likeness = len(words & around) / max(1, len(words | around))
                body = "\n".join(lines[start : start + CHUNK_LINES])
                scored.append((-likeness, Place(path, start + 1, start + CHUNK_LINES, body)))
        scored.sort(key=lambda one: (one[0], one[1].path, one[1].first_line))
        return [place for _, place in scored]


def position(task: Task, places: Iterable[Place]) -> int | None:
    """The rank of the first place that shows the line of the definition, from 1."""
    for rank, place in enumerate(places, start=1):
        if rank > _DEEP:
            return None
        holds = place.path == task.gold_path and place.first_line <= task.gold_line <= place.last_line
        if holds and task.gold_text in place.text:
            return rank
    return None


def figures(ranks: list[int | None]) -> dict[str, float]:
    """hit@1, hit@5 and MRR of ranks; None is a miss."""
    count = max(1, len(ranks))
    return {
        "hit_at_1": round(sum(rank == 1 for rank in ranks) / count, 4),
        "hit_at_5": round(sum(rank is not None and rank <= 5 for rank in ranks) / count, 4),
        "mrr": round(sum(1 / rank for rank in ranks if rank) / count, 4),
    }


def measure(tasks: list[Task], folder: Path) -> dict[str, Any]:
    """Figures of the three methods, all together, by kind of use and by package."""
    packages: dict[str, Package] = {}
    ranks: dict[str, list[int | None]] = {method: [] for method in METHODS}
    spent_ms: list[float] = []
    for task in tasks:
        if task.root not in packages:
            packages[task.root] = Package(Path(task.root), folder / f"{Path(task.root).name}.sqlite")
        package = packages[task.root]
        places, elapsed_ms = package.ours(task)
        spent_ms.append(elapsed_ms)
        ranks["ours"].append(position(task, places))
        for unit in UNITS:
            for query in QUERIES:
                ranks[f"bm25 of {unit} by {query}"].append(position(task, package.bm25(task, unit, query)))
        ranks["tabs"].append(position(task, package.tabs(task)))

    def split(key: Any) -> dict[str, Any]:
        groups = sorted({key(task) for task in tasks})
        return {
            group: {
                method: figures([rank for task, rank in zip(tasks, ranks[method], strict=True) if key(task) == group])
                for method in METHODS
            }
            for group in groups
        }

    return {
        "tasks": len(tasks),
        "kinds": dict(Counter(task.kind for task in tasks)),
        **{method: figures(ranks[method]) for method in METHODS},
        "best_bm25": max(BM25, key=lambda method: figures(ranks[method])["hit_at_5"]),
        "by_kind": split(lambda task: task.kind),
        "by_package": split(lambda task: Path(task.root).name),
        "query_cpu_ms": {"p50": round(percentile(spent_ms, 0.5), 2), "p95": round(percentile(spent_ms, 0.95), 2)},
    }


def _asked(task: Task, query: str) -> str:
    if query == "file":
        return task.text
    imports = _IMPORT.findall(task.text) if query == "imports" else []
    return "\n".join([*imports, _around(task)])


def _around(task: Task) -> str:
    lines = task.text.split("\n")
    row = task.text.count("\n", 0, task.offset)
    return "\n".join(lines[max(0, row - _LINES_BEFORE) : row + 1 + _LINES_AFTER])
