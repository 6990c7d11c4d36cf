"""Ranks for each task: ours, BM25 alone, and open tabs alone; and the figures that follow from ranks."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.context.tasks import Task
from bench.results import percentile
from completion.api import CompletionRequest
from completion.context.index import Indexer
from completion.context.library import Library
from completion.context.retriever import Retriever
from completion.context.store import Store
from completion.context.words import CHUNK_LINES, parts

_LINES_BEFORE, _LINES_AFTER = 12, 6
_TABS = 5
_DEEP = 50
METHODS = ("ours", "bm25", "tabs")


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a file."""

    path: str
    first_line: int
    last_line: int


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

    def ours(self, task: Task) -> tuple[list[Place], float]:
        """Ranked places, and the milliseconds that took."""
        request = CompletionRequest(text=task.text, offset=task.offset, path=task.path, root=task.root)
        # The editor opened the document before the cursor moved in it.
        self._library.put(task.path, task.text, "python")
        started_s = time.perf_counter()
        ranked = self._retriever.ranked(request)
        elapsed_ms = (time.perf_counter() - started_s) * 1000
        self._library.forget(task.path)
        places = [Place(one.candidate.path, one.candidate.first_line, one.candidate.last_line) for one in ranked]
        return places, elapsed_ms

    def bm25(self, task: Task) -> list[Place]:
        """Chunks by BM25 over the words around the cursor."""
        words = list(dict.fromkeys(parts(_around(task))))
        hits = self._store.search(words, limit=_DEEP + 20)
        return [Place(hit.path, hit.first_line, hit.last_line) for hit in hits if hit.path != task.path]

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
                scored.append((-likeness, Place(path, start + 1, start + CHUNK_LINES)))
        scored.sort(key=lambda one: (one[0], one[1].path, one[1].first_line))
        return [place for _, place in scored]


def position(task: Task, places: Iterable[Place]) -> int | None:
    """The rank of the first place that holds the definition's first line, from 1."""
    for rank, place in enumerate(places, start=1):
        if rank > _DEEP:
            return None
        if place.path == task.gold_path and place.first_line <= task.gold_line <= place.last_line:
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
        ranks["bm25"].append(position(task, package.bm25(task)))
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
        "by_kind": split(lambda task: task.kind),
        "by_package": split(lambda task: Path(task.root).name),
        "query_ms": {"p50": round(percentile(spent_ms, 0.5), 2), "p95": round(percentile(spent_ms, 0.95), 2)},
    }


def _around(task: Task) -> str:
    lines = task.text.split("\n")
    row = task.text.count("\n", 0, task.offset)
    return "\n".join(lines[max(0, row - _LINES_BEFORE) : row + 1 + _LINES_AFTER])
