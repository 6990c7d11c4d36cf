"""What an index costs: files a second, a saved file's way into it, a query's time, memory, size, and the event loop.

`python -m bench.context.speed ROOT INDEX` measures questions alone, in a fresh process, over an index that is there.

Measured on a tree of source files that is assembled from the installed packages (and whatever folders are given). Times
are told twice: by the thread's own processor time, which other work on the machine hardly changes, and by the wall.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from bench import results
from bench.results import percentile
from completion.api import CompletionRequest
from completion.context.index import Indexer
from completion.context.indexer_process import IndexerProcess
from completion.context.library import Library
from completion.context.retriever import Retriever
from completion.context.scanner import Scanner, read_source
from completion.context.store import Store
from completion.context.workspace import TIME_LIMIT_MS

_KINDS = (".py", ".js", ".ts", ".tsx", ".go", ".rs", ".java", ".c", ".h", ".cpp", ".hpp", ".css", ".html", ".sh", ".rb")
_QUERIES = 200
_SAVES = 20


def assemble(sources: list[Path], root: Path, *, files: int) -> tuple[int, int]:
    """Copy source files that can be indexed into `root`, until there are `files`; returns how many, and their bytes."""
    count = size_bytes = 0
    for number, source in enumerate(sources):
        for found in Scanner(source).walk():
            if count >= files:
                return count, size_bytes
            content = (source / found.path).read_bytes()
            if not found.path.endswith(_KINDS) or "site-packages/" in found.path or read_source(content) is None:
                continue
            target = root / f"s{number}" / found.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            count, size_bytes = count + 1, size_bytes + len(content)
    return count, size_bytes


def cold(root: Path, file: Path) -> dict[str, float]:
    """Index everything in this process: by its own processor time, which is what one core needs."""
    store = Store(file, writable=True)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    number = sum(1 for _ in Indexer(root, store).reconcile())
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    indexed = store.count()
    store.close()
    again_s = time.process_time()
    store = Store(file, writable=True)
    for _ in Indexer(root, store).reconcile():
        pass
    store.close()
    return {
        "files_looked_at": number,
        "files_indexed": indexed,
        "files_per_cpu_s": round(indexed / cpu_s, 1),
        "files_per_wall_s": round(indexed / wall_s, 1),
        "nothing_changed_cpu_s": round(time.process_time() - again_s, 2),
        "index_mb": round(file.stat().st_size / 1e6, 1),
        "indexer_resident_mb": round(psutil.Process().memory_info().rss / 1e6, 1),
    }


class Spent:
    """Milliseconds of many runs of one thing."""

    def __init__(self) -> None:
        self.cpu_ms: list[float] = []
        self.wall_ms: list[float] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take the time of what is done inside."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        yield
        self.cpu_ms.append((time.thread_time() - cpu_s) * 1000)
        self.wall_ms.append((time.perf_counter() - wall_s) * 1000)

    def told(self) -> dict[str, dict[str, float]]:
        """Median and 95th percentile of both clocks."""
        clocks = {"cpu_ms": self.cpu_ms, "wall_ms": self.wall_ms}
        return {
            clock: {f"p{share}": round(percentile(spent, share / 100), 2) for share in (50, 95)}
            for clock, spent in clocks.items()
        }


def saves(root: Path, file: Path) -> dict[str, Any]:
    """How long until a saved file is in the index."""
    store = Store(file, writable=True)
    indexer = Indexer(root, store)
    spent = Spent()
    for number, path in enumerate(_some(store, _SAVES + 1)):
        full = root / path
        full.write_text(full.read_text(encoding="utf-8", errors="replace") + "\n# saved\n", encoding="utf-8")
        if number == 0:
            indexer.refresh([path])  # loads a grammar, once in a process' life
            continue
        with spent.one():
            indexer.refresh([path])
    store.close()
    return {f"update_{clock}": figures for clock, figures in spent.told().items()}


def queries(root: Path, file: Path) -> dict[str, Any]:
    """From a question to picked snippets, within the time limit and without; and what the reader's memory grows by.

    `first`: the first question in a file that was just opened; the others come when the cursor has moved elsewhere in
    it. While the cursor stays, no question is asked at all.
    """
    store = Store(file)
    paths = [path for path in _some(store, _QUERIES) if path.endswith(".py")]
    before_mb = psutil.Process().memory_info().rss / 1e6
    figures: dict[str, Any] = {"queries": len(paths)}
    for name, limit_ms in (("unlimited", None), ("limited", TIME_LIMIT_MS)):
        library = Library(file)
        retriever = Retriever(library, time_limit_ms=limit_ms)
        first, later = Spent(), Spent()
        for path in paths:
            text = store.text(path) or ""
            retriever.opened(path, text, "python")
            rng = random.Random(path)
            for spent in (first, later):
                offset = rng.randint(0, len(text))
                request = CompletionRequest(text=text, offset=offset, path=path, root=str(root), language_id="python")
                retriever.moved(path)
                with spent.one():
                    retriever.snippets(request)
            retriever.forget(path)
        figures[f"query_{name}"] = later.told()
        figures[f"query_{name}_first"] = first.told()
        library.close()
    figures["reader_growth_mb"] = round(psutil.Process().memory_info().rss / 1e6 - before_mb, 1)
    store.close()
    return figures


def loop_lag(root: Path, folder: Path) -> dict[str, float]:
    """How late the event loop is while a root is indexed: by nobody, by a thread of this process, by a process."""
    return {
        "lag_ms_p99_idle": asyncio.run(_lag(None, root, folder / "idle.sqlite")),
        "lag_ms_p99_thread": asyncio.run(_lag("thread", root, folder / "thread.sqlite")),
        "lag_ms_p99_process": asyncio.run(_lag("process", root, folder / "process.sqlite")),
    }


async def _lag(how: str | None, root: Path, file: Path) -> float:
    ended = False

    def index() -> None:
        store = Store(file, writable=True)
        for _ in Indexer(root, store).reconcile():
            if ended:
                break
        store.close()

    loop = asyncio.get_running_loop()
    thread = loop.run_in_executor(None, index) if how == "thread" else None
    process = IndexerProcess(root, file, notice=print) if how == "process" else None
    await asyncio.sleep(0.5)
    late_ms = []
    for _ in range(400):
        started_s = time.perf_counter()
        await asyncio.sleep(0.005)
        late_ms.append((time.perf_counter() - started_s - 0.005) * 1000)
    ended = True
    if thread is not None:
        await thread
    if process is not None:
        process.close()
    return round(percentile(late_ms, 0.99), 2)


def measure(sources: list[Path], folder: Path, *, files: int) -> dict[str, Any]:
    """All of it."""
    root, file = folder / "tree", folder / "tree.sqlite"
    count, size_bytes = assemble(sources, root, files=files)
    figures: dict[str, Any] = {"tree_files": count, "tree_mb": round(size_bytes / 1e6, 1)}
    for part in (cold, queries, saves):
        # Each in a process of its own: memory that another part has left behind would hide what this one needs.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            figures |= pool.submit(part, root, file).result()
        print(figures, file=sys.stderr, flush=True)
    figures |= loop_lag(root, folder)
    figures["cores"] = os.cpu_count()
    return figures


def _some(store: Store, count: int) -> Iterator[str]:
    paths = sorted(store.known())
    yield from random.Random(1).sample(paths, min(count, len(paths)))


def main() -> None:
    """Measure questions, and save `bench/results/context_queries.json`."""
    root, file = map(Path, sys.argv[1:3])
    figures = queries(root, file)
    with closing(Store(file)) as store:
        figures["files_indexed"] = store.count()
    results.save("context_queries", figures)
    print(figures)


if __name__ == "__main__":
    main()
