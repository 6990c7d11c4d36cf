"""One editor's state: its documents, its settings, the completer that serves it. Knows no protocol types.

What the protocol asks ends up in `suggest`; everything else keeps what `suggest` needs up to date.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from completion.acceptance import AcceptanceLog
from completion.api import (
    Completer,
    CompletionRequest,
    EngineState,
    EngineStatus,
    FollowsWorkspace,
    SelectedItem,
    Suggestion,
    Trigger,
)
from completion.explain import describe
from completion.settings import CompletionSettings
from lsp.acceptance import Offers
from lsp.documents import Document, Documents
from lsp.flights import Flights
from lsp.positions import Place
from lsp.recent_edits import RecentEdits
from lsp.settings import Problem, Settings, needs_new_completer
from lsp.status import LOADING, Editor, StatusBoard
from model.api import Feedback, Listening
from model.errors import TerselyError

logger = logging.getLogger(__name__)

Connect = Callable[[CompletionSettings], Awaitable[Completer]]
"""Makes the completer for some settings. May raise any `TerselyError`."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A cursor as an editor names it. `selected` is the completion menu's item: where from, where to, and its text."""

    uri: str
    place: Place
    trigger: Trigger
    selected: tuple[Place, Place, str] | None = None
    for_menu: bool = False
    """Asked by the completion menu: neither supersedes ghost text, nor is superseded by it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Suggestions for a document that has not changed since the question: its buffer converts their offsets."""

    document: Document
    offset: int
    selected: SelectedItem | None
    suggestions: tuple[Suggestion, ...]


class Host:
    """Serves one editor. All methods are called on the event loop."""

    def __init__(self, connect: Connect, editor: Editor) -> None:
        self._connect = connect
        self._editor = editor
        self._settings = Settings()
        self._completer: Completer | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._connecting: asyncio.Task[None] | None = None
        self._ghosts: Flights[list[Suggestion]] = Flights()
        self._menus: Flights[list[Suggestion]] = Flights()
        self._reported: set[Problem] = set()
        self._retry_s = _FIRST_RETRY_S
        self._retry_after_s = 0.0
        self.documents = Documents()
        self.recent = RecentEdits()
        self.offers = Offers(self._pass_on)
        self._passing: set[asyncio.Task[None]] = set()
        self.board = StatusBoard(editor)

    @property
    def settings(self) -> Settings:
        return self._settings

    def apply(self, settings: Settings, problems: tuple[Problem, ...] = ()) -> None:
        """Take new settings; the first call starts everything. Each problem is shown once, however often it is sent."""
        for problem in problems:
            if problem not in self._reported:
                self._editor.warn(problem.message)
        self._reported = set(problems)
        old, self._settings = self._settings, settings
        self.board.enable(settings.enabled)
        if settings.acceptance_log != self.offers.logging:
            self.offers.log_to(AcceptanceLog() if settings.acceptance_log else None)
        if not settings.enabled:
            self._end_all()
        started = self._connecting is not None
        if not started or needs_new_completer(old.completion, settings.completion):
            self._connecting = asyncio.ensure_future(self._reconnect(self._connecting))
        elif self._completer is not None and old.completion.level != settings.completion.level:
            self._completer.set_level(settings.completion.level)
        if self._completer is not None and settings.enabled and not old.enabled:
            self._warm_up()

    def opened(self, document: Document) -> None:
        """A document was opened, or got the focus: have the engine ready when the first key comes."""
        self._tell_changed(document)
        if self.serves(document):
            self._warm_up()

    def changed(self, document: Document) -> None:
        """A document changed: what is being computed for it can only be stale."""
        self._end(document.uri)
        self._tell_changed(document)

    def saved(self, uri: str) -> None:
        """A document was written to disk."""
        document = self.documents.get(uri)
        if document is not None and (follower := self._follower()) is not None:
            follower.file_saved(document.path, document.root)

    def files_changed(self, uris: Iterable[str]) -> None:
        """Files or folders were made, changed, renamed or removed. Those outside of all roots are nobody's."""
        follower = self._follower()
        if follower is None:
            return
        paths: dict[str, list[str]] = {}
        for uri in dict.fromkeys(uris):
            path, root = self.documents.locate(uri)
            if root is not None:
                paths.setdefault(root, []).append(path)
        for root, changed in paths.items():
            follower.files_changed(changed, root)

    def roots_changed(self) -> None:
        """The workspace has other folders than before."""
        if (follower := self._follower()) is not None:
            follower.set_roots(self.documents.roots)

    def close(self, uri: str) -> None:
        """Forget a document, here and below."""
        self._end(uri)
        document = self.documents.close(uri)
        if document is not None and self._completer is not None:
            self._completer.document_closed(document.path)
            if (follower := self._follower()) is not None:
                follower.file_closed(document.path, document.root)

    def serves(self, document: Document) -> bool:
        """Whether the settings want suggestions in this document."""
        return (
            self._settings.enabled
            and document.language_id not in self._settings.disabled_languages
            and len(document.buffer.text) <= self._settings.max_file_size
        )

    async def suggest(self, query: Query) -> Answer | None:
        """Suggestions for a cursor; None where there are none, or they come too late. Never raises but on cancellation.

        A newer query for the same document ends an older one, and so does a change of the document.
        """
        flights = self._menus if query.for_menu else self._ghosts
        document = self.documents.get(query.uri)
        if document is None or not self.serves(document) or self._completer is None or not self._may_ask():
            flights.end(query.uri)
            return None
        request = _to_request(document, query)
        revision = document.buffer.revision
        suggestions = await self._ask(flights, self._completer, document, request)
        if not suggestions or self.documents.get(query.uri) is not document or document.buffer.revision != revision:
            return None
        if query.trigger is Trigger.AUTOMATIC:
            suggestions = suggestions[:1]
        known = tuple(one if one.suggestion_id else replace(one, suggestion_id=uuid.uuid4().hex) for one in suggestions)
        return Answer(document, request.offset, request.selected, known)

    def explain(self, uri: str) -> dict[str, Any] | None:
        """How the last suggestion for a document, or its absence, came about; None where nothing was asked yet."""
        document = self.documents.get(uri)
        if document is None or self._completer is None:
            return None
        suggestion = self._completer.last_attempt(document.path)
        return None if suggestion is None else describe(suggestion)

    def sent(self, suggestion: Suggestion, uri: str) -> None:
        """A suggestion for a document is on its way to the editor."""
        document = self.documents.get(uri)
        self.offers.remember(suggestion, language_id=document.language_id if document else "")

    def _pass_on(self, feedback: Feedback) -> None:
        """Tell the engine what became of its words, where it wants to know; nobody waits for it."""
        completer: object = self._completer
        if isinstance(completer, Listening):
            passing = asyncio.ensure_future(_heard(completer, feedback))
            self._passing.add(passing)
            passing.add_done_callback(self._passing.discard)

    async def aclose(self) -> None:
        """End what is under way and let go of the completer. Can be called again."""
        self._end_all()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        for passing in self._passing:
            passing.cancel()
        if self._passing:
            await asyncio.wait(self._passing)
        await self._disconnect()
        self.offers.log_to(None)

    async def _ask(
        self,
        flights: Flights[list[Suggestion]],
        completer: Completer,
        document: Document,
        request: CompletionRequest,
    ) -> list[Suggestion]:
        try:
            suggestions = await flights.run(document.uri, completer.complete(request))
        except TerselyError as error:
            logger.info("No suggestion: %s", error)  # At each key: the board warns once.
            if completer is self._completer:
                self.board.failed(error)
            return []
        except Exception:
            # An editor shows each error to the user, at each key: a defect belongs into the log instead.
            logger.exception("No suggestion, because of a defect")
            return []
        if suggestions is None:
            return []
        self.board.answered()
        return suggestions

    def _tell_changed(self, document: Document) -> None:
        """Documents too large for suggestions are too large to learn from."""
        if (follower := self._follower()) is not None and self.serves(document):
            text = _encodable(document.buffer.text)
            follower.file_changed(document.path, document.root, text, document.language_id or None)

    def _follower(self) -> FollowsWorkspace | None:
        """The completer, if it wants to know of the workspace."""
        completer: object = self._completer
        return completer if isinstance(completer, FollowsWorkspace) else None

    def _end(self, uri: str) -> None:
        self._ghosts.end(uri)
        self._menus.end(uri)

    def _end_all(self) -> None:
        self._ghosts.end_all()
        self._menus.end_all()

    def _may_ask(self) -> bool:
        """Whether the engine can answer now. If it sleeps or has failed, it is woken for a later key."""
        state = self.board.engine.state
        if state is EngineState.READY:
            return True
        if state not in LOADING:
            self._warm_up()
        return self.board.engine.state is EngineState.READY

    def _warm_up(self) -> None:
        """Start the engine if need be; after failures ever more rarely, so that no key starts another crash."""
        if self._completer is None:
            return
        if self.board.engine.state is EngineState.FAILED:
            now = time.monotonic()
            if now < self._retry_after_s:
                return
            self._retry_after_s = now + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
        self._completer.warm_up()

    def _engine_changed(self, status: EngineStatus) -> None:
        if status.state is EngineState.READY:
            self._retry_s = _FIRST_RETRY_S
            self._retry_after_s = 0.0
        elif status.state is EngineState.FAILED and self.board.engine.state is not EngineState.FAILED:
            self._retry_after_s = time.monotonic() + self._retry_s
        self.board.engine_changed(status)

    async def _reconnect(self, earlier: asyncio.Task[None] | None) -> None:
        """Replace the completer by one for the settings as they are now."""
        if earlier is not None:
            earlier.cancel()
            await asyncio.wait({earlier})
        await self._disconnect()
        self.board.reset()
        settings = self._settings.completion
        try:
            completer = await self._connect(settings)
        except TerselyError as error:
            logger.warning("No completer: %s", error)
            self.board.failed(error)
            return
        except Exception:
            logger.exception("No completer, because of a defect")
            self._editor.warn("tersely cannot start, because of a defect of its own. Please report what its log says.")
            return
        self._completer = completer
        if self._settings.completion.level is not settings.level:
            completer.set_level(self._settings.completion.level)
        self.roots_changed()
        for document in self.documents:
            self._tell_changed(document)
        self._unsubscribe = completer.on_status(self._engine_changed)
        if any(self.serves(document) for document in self.documents):
            self._warm_up()

    async def _disconnect(self) -> None:
        completer, self._completer = self._completer, None
        if completer is None:
            return
        self._end_all()
        self._unsubscribe()
        await completer.aclose()


async def _heard(completer: Listening, feedback: Feedback) -> None:
    try:
        await completer.hear(feedback)
    except TerselyError as error:
        logger.info("No feedback: %s", error)  # an engine that is gone has no page either


def _to_request(document: Document, query: Query) -> CompletionRequest:
    buffer = document.buffer
    selected = None
    if query.selected is not None:
        start, end, text = query.selected
        selected = SelectedItem(buffer.offset(start), buffer.offset(end), text)
    return CompletionRequest(
        text=_encodable(buffer.text),
        offset=buffer.offset(query.place),
        path=document.path,
        root=document.root,
        language_id=document.language_id or None,
        trigger=query.trigger,
        selected=selected,
    )


def _encodable(text: str) -> str:
    """The text with half characters replaced, so that it can be sent as UTF-8. Offsets stay."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text)
    return text
