"""Repository context on the event loop: retrievers for all roots on one thread, indexers in processes of their own.

Nothing is opened, imported or started before the first question that can use an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from completion.api import CompletionRequest

if TYPE_CHECKING:
    from completion.context.embedding import Embedder, Likeness
    from completion.context.indexer_process import IndexerProcess
    from completion.context.library import Library
    from completion.context.rank import Budget
    from completion.context.retriever import Retriever, Snippet

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

TIME_LIMIT_MS = 15.0
_ABSORB_MS = 5.0
"""How long one question may spend on other buffers that changed since the last."""
_RECENT = 8


@dataclass(frozen=True, slots=True)
class _Change:
    text: str
    language_id: str | None


class Workspace:
    """The context of one client's roots. All methods are called on the event loop; none of them blocks it."""

    def __init__(
        self,
        *,
        index: bool = True,
        notice: Callable[[str], None] = logger.warning,
        time_limit_ms: float | None = TIME_LIMIT_MS,
        first_wait_s: float = 3.0,
        embedder: Embedder | None = None,
    ) -> None:
        """`index`: keep indexes on disk; without, only the editor's buffers are known. `notice`: told on a thread.

        `time_limit_ms`: how long one question may take; None: as long as it needs. `first_wait_s`: a root that nobody
        named (a single question from the command line) is given this long to be indexed first. `embedder`: reorders by
        meaning what looks alike; None: words decide.
        """
        self._first_wait_s = first_wait_s
        self._time_limit_ms = time_limit_ms
        self._index = index
        self._notice = notice
        self._embedder = embedder
        self._likeness: Likeness | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._named: set[str] = set()
        self._retrievers: dict[str, Retriever] = {}
        self._indexers: dict[str, IndexerProcess] = {}
        self._changes: dict[tuple[str, str], _Change] = {}
        self._seen: dict[tuple[str, str], str] = {}
        self._unread: dict[tuple[str, str], _Change] = {}

    @property
    def started(self) -> bool:
        """Whether anything runs or is open."""
        return self._thread is not None

    def set_roots(self, roots: Sequence[str]) -> None:
        """The workspace's roots, as absolute paths. What belongs to others is let go."""
        self._named = set(roots)
        for root in [root for root in self._retrievers if root not in self._named]:
            self._submit(self._close, root)

    def document_changed(self, root: str | None, path: str, text: str, language_id: str | None) -> None:
        """A buffer was opened or changed: from now on it stands for the file."""
        if root is None:
            return
        if root in self._retrievers and (root, path) not in self._changes and (root, path) not in self._seen:
            self._submit(self._read_document, root, path, _Change(text, language_id))
        self._changes[root, path] = _Change(text, language_id)

    def document_saved(self, root: str | None, path: str) -> None:
        """A file was saved: have it indexed at once."""
        if root in self._indexers:
            self._submit(self._indexers[root].changed, [path])

    def files_changed(self, root: str | None, paths: Sequence[str]) -> None:
        """Files or folders were made, changed, renamed or removed: the editor may watch what we cannot."""
        from completion.context.scanner import IGNORE_FILES
        from completion.context.watch import MANY

        if root in self._indexers:
            everything = len(paths) > MANY or any(path.rpartition("/")[2] in IGNORE_FILES for path in paths)
            self._submit(self._indexers[root].changed, None if everything else list(paths))

    def document_closed(self, root: str | None, path: str) -> None:
        """A buffer was closed: the file on disk stands for itself again."""
        if root is None:
            return
        self._changes.pop((root, path), None)
        self._seen.pop((root, path), None)
        self._unread.pop((root, path), None)
        if root in self._retrievers:
            self._submit(self._retrievers[root].forget, path)

    async def snippets(self, request: CompletionRequest, budget: Budget) -> tuple[Snippet, ...]:
        """What to show at a cursor; nothing for a file outside of all roots."""
        if request.root is None:
            return ()
        loop = asyncio.get_running_loop()
        if request.root not in self._retrievers:
            indexer = await loop.run_in_executor(self._pool(), self._open, request.root)
            if indexer is not None and request.root not in self._named:
                await loop.run_in_executor(None, indexer.ready.wait, self._first_wait_s)
        return await loop.run_in_executor(self._pool(), self._answer, request, budget)

    async def ask(self, root: str | None, question: Callable[[Library], _T]) -> _T | None:
        """What a question finds in a root's library, on the library's thread; None for a root that is not open."""
        if root is None or root not in self._retrievers:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._pool(), self._put_to, root, question)

    async def aclose(self) -> None:
        """End the indexers and the thread. Can be called again."""
        pool, self._thread = self._thread, None
        if pool is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(pool, self._close_all)
            pool.shutdown(wait=False)

    def _pool(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tersely-context")
        return self._thread

    def _submit(self, work: Callable[..., object], *arguments: object) -> None:
        self._pool().submit(work, *arguments).add_done_callback(_log_failure)

    # On the thread.

    def _open(self, root: str) -> IndexerProcess | None:
        from completion.context.index import index_file
        from completion.context.indexer_process import IndexerProcess
        from completion.context.library import Library
        from completion.context.retriever import Retriever

        if root in self._retrievers:
            return self._indexers.get(root)
        folder = Path(root)
        file = index_file(folder) if self._index and _is_project(folder) else None
        if self._embedder is not None and self._likeness is None:
            from completion.context.embedding import Likeness

            self._likeness = Likeness(self._embedder)
        self._retrievers[root] = Retriever(Library(file), time_limit_ms=self._time_limit_ms, likeness=self._likeness)
        if file is None:
            return None
        try:
            indexer = IndexerProcess(folder, file, notice=self._notice)
        except OSError as error:
            self._notice(f"{root} cannot be indexed ({error}); suggestions do without its other files.")
            return None
        self._indexers[root] = indexer
        return indexer

    def _answer(self, request: CompletionRequest, budget: Budget) -> tuple[Snippet, ...]:
        assert request.root is not None
        retriever = self._retrievers.get(request.root)
        if retriever is None:
            return ()  # the root was let go meanwhile
        self._absorb(request)
        return retriever.snippets(request, budget)

    def _put_to(self, root: str, question: Callable[[Library], _T]) -> _T | None:
        retriever = self._retrievers.get(root)
        return None if retriever is None else question(retriever.library)

    def _read_document(self, root: str, path: str, change: _Change) -> None:
        from completion.language import detect

        if root in self._retrievers:
            language = detect(language_id=change.language_id, path=path, text=change.text).id
            self._retrievers[root].opened(path, change.text, language)

    def _absorb(self, request: CompletionRequest) -> None:
        """Take buffers in as far as the time allows.

        The one at the cursor comes with the request itself, and is read once the cursor is in another.
        """
        from completion.language import detect

        until_s = time.perf_counter() + _ABSORB_MS / 1000
        for key in [key for key in list(self._changes) if key[0] in self._retrievers]:
            if (change := self._changes.pop(key, None)) is not None:
                self._note(key, change)
                self._unread[key] = change
        for key in [key for key in list(self._unread) if key[0] in self._retrievers]:
            root, path = key
            if key == (request.root, request.path) or time.perf_counter() > until_s:
                continue
            if (change := self._unread.pop(key, None)) is not None:
                language = detect(language_id=change.language_id, path=path, text=change.text).id
                self._retrievers[root].library.put(path, change.text, language)

    def _note(self, key: tuple[str, str], change: _Change) -> None:
        """Remember where a buffer was edited last, or that it was looked at."""
        root, path = key
        line = _first_difference(self._seen.get(key), change.text)
        self._seen[key] = change.text
        recent = self._retrievers[root].recent
        if line is None:
            recent.viewed = [path, *(one for one in recent.viewed if one != path)][:_RECENT]
        else:
            recent.edited = [(path, line), *(one for one in recent.edited if one[0] != path)][:_RECENT]

    def _close(self, root: str) -> None:
        retriever = self._retrievers.pop(root, None)
        indexer = self._indexers.pop(root, None)
        if retriever is not None:
            retriever.library.close()
        if indexer is not None:
            indexer.close()

    def _close_all(self) -> None:
        for root in list(self._retrievers):
            self._close(root)
        if self._likeness is not None:
            self._likeness.close()
            self._likeness = None


def _is_project(root: Path) -> bool:
    """A home folder or a whole disk is no project: it is not indexed."""
    resolved = root.resolve()
    return resolved.is_dir() and resolved != Path.home().resolve() and resolved.parent != resolved


def _first_difference(old: str | None, new: str) -> int | None:
    """The line, from 1, of the first character in which two texts differ; None where there is no older text."""
    if old is None or old == new:
        return None
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[:middle] == new[:middle]:
            low = middle
        else:
            high = middle - 1
    return new.count("\n", 0, low) + 1


def _log_failure(done: object) -> None:
    from concurrent.futures import Future

    assert isinstance(done, Future)
    if (error := done.exception()) is not None:
        logger.error("Context work failed", exc_info=error)
