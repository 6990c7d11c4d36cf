"""What an index costs: files a second, a saved file's way into it, a query's time, memory, size, and the event loop.

Measured on a tree of source files that is assembled from the installed packages (and whatever folders are given).
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.results import percentile
from completion.api import CompletionRequest
from completion.context.index import Indexer
from completion.context.indexer_process import IndexerProcess
from completion.context.library import Library
from completion.context.retriever import Retriever
from completion.context.store import Store
from completion.context.workspace import TIME_LIMIT_MS

_KINDS = (".py", ".js", ".ts", ".tsx", ".go", ".rs", ".java", ".c", ".h", ".cpp", ".hpp", ".css", ".html", ".sh", ".rb")
_QUERIES = 200
_SAVES = 20


def assemble(sources: list[Path], root: Path, *, files: int) -> tuple[int, int]:
    """Copy source files into `root` until there are `files`; returns how many there are, and their bytes."""
    count = size_bytes = 0
    for number, source in enumerate(sources):
        for file in sorted(source.rglob("*")):
            if count >= files:
                return count, size_bytes
            if file.suffix not in _KINDS or not file.is_file() or file.is_symlink():
                continue
            target = root / f"s{number}" / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            count, size_bytes = count + 1, size_bytes + target.stat().st_size
    return count, size_bytes


def cold(root: Path, file: Path) -> dict[str, float]:
    """Index everything in this process: by its own processor time, which is what one core needs."""
    store = Store(file, writable=True)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    number = sum(1 for _ in Indexer(root, store).reconcile())
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    indexed = store.count()
    store.close()
    started_s = time.perf_counter()
    store = Store(file, writable=True)
    for _ in Indexer(root, store).reconcile():
        pass
    store.close()
    return {
        "files_looked_at": number,
        "files_indexed": indexed,
        "files_per_cpu_s": round(number / cpu_s, 1),
        "files_per_wall_s": round(number / wall_s, 1),
        "nothing_changed_s": round(time.perf_counter() - started_s, 2),
        "index_mb": round(file.stat().st_size / 1e6, 1),
        "peak_resident_mb": round(psutil.Process().memory_info().rss / 1e6, 1),
    }


def saves(root: Path, file: Path) -> dict[str, float]:
    """How long until a saved file is in the index."""
    store = Store(file, writable=True)
    indexer = Indexer(root, store)
    spent_ms = []
    for path in _some(store, _SAVES):
        full = root / path
        full.write_text(full.read_text(encoding="utf-8", errors="replace") + "\n# saved\n", encoding="utf-8")
        started_s = time.perf_counter()
        indexer.refresh([path])
        spent_ms.append((time.perf_counter() - started_s) * 1000)
    store.close()
    return {"update_ms_p50": round(statistics.median(spent_ms), 1), "update_ms_worst": round(max(spent_ms), 1)}


def queries(root: Path, file: Path) -> dict[str, float]:
    """From a question to ranked snippets, within the time limit and without; and what the reader's memory grows by."""
    store = Store(file)
    paths = [path for path in _some(store, _QUERIES) if path.endswith(".py")]
    before_mb = psutil.Process().memory_info().rss / 1e6
    figures: dict[str, float] = {}
    for name, limit_ms in (("unlimited", None), ("limited", TIME_LIMIT_MS)):
        library = Library(file)
        retriever = Retriever(library, time_limit_ms=limit_ms)
        spent_ms, cpu_ms = [], []
        for path in paths:
            text = store.text(path) or ""
            offset = random.Random(path).randint(0, len(text))
            library.put(path, text, "python")  # the editor has it open
            request = CompletionRequest(text=text, offset=offset, path=path, root=str(root), language_id="python")
            started_s, cpu_s = time.perf_counter(), time.process_time()
            retriever.snippets(request)
            spent_ms.append((time.perf_counter() - started_s) * 1000)
            cpu_ms.append((time.process_time() - cpu_s) * 1000)
            retriever.forget(path)
        figures[f"query_{name}_ms_p50"] = round(percentile(spent_ms, 0.5), 2)
        figures[f"query_{name}_ms_p95"] = round(percentile(spent_ms, 0.95), 2)
        figures[f"query_{name}_cpu_ms_p95"] = round(percentile(cpu_ms, 0.95), 2)
        library.close()
    figures["queries"] = len(paths)
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
    figures |= loop_lag(root, folder)
    figures |= cold(root, file)
    figures |= saves(root, file)
    figures |= queries(root, file)
    figures["cores"] = os.cpu_count()
    return figures


def _some(store: Store, count: int) -> Iterator[str]:
    paths = sorted(store.known())
    yield from random.Random(1).sample(paths, min(count, len(paths)))
