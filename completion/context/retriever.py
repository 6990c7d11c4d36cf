"""What of the repository to show at a cursor: gathers, ranks, and picks within budgets and a time limit.

Synchronous, for one thread; `completion.context.workspace` brings it to the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from completion.api import CompletionRequest
from completion.context.candidates import Candidate, Gatherer, Recent
from completion.context.embedding import Likeness
from completion.context.library import Library
from completion.context.rank import Budget, Ranked, Shown, choose, rank
from completion.context.redact import redact
from completion.context.resolve import members
from completion.context.scanner import is_secret_name
from completion.context.site import Surroundings, look_around, read_ahead, receiver_at
from completion.language import detect

_MEMBERS_SHOWN = 8
_CHOSEN_FROM = 24
_SAME_PLACE_LINES = 10
_GATHERING = 0.45
"""The part of the time limit after which no more is looked for."""
_FRESH_S = 1.0
"""The facts of the file at the cursor are read anew at most this often: an edit seldom changes its imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A piece of another file for the prompt, without secrets, and why it is there. Lines count from 1."""

    source: str
    path: str
    first_line: int
    last_line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Held:
    """What a document's last prompt showed, and where the cursor was when it was chosen."""

    line: int
    receiver: tuple[str, ...]
    budget: Budget
    snippets: tuple[Snippet, ...]
    places: frozenset[tuple[str, str]]


class Retriever:
    """Answers for one root. Remembers what it last showed, since that is in the engine's cache."""

    def __init__(self, library: Library, *, time_limit_ms: float | None, likeness: Likeness | None = None) -> None:
        """`time_limit_ms`: after this time, what was found by then is used; None: no limit.

        `likeness`: compares chunks by what they mean; None: by their words alone.
        """
        self._likeness = likeness
        self.library = library
        self.recent = Recent()
        self._time_limit_ms = time_limit_ms
        self._held: dict[str, _Held] = {}
        self._read_s: dict[str, float] = {}
        self._cut_short = False

    def gather(self, request: CompletionRequest) -> tuple[Surroundings, list[Candidate]]:
        """The cursor's surroundings and every candidate. The file at the cursor is read from the request."""
        library = self.library
        is_late = self._clock()
        library.refresh()
        language = detect(language_id=request.language_id, path=request.path, text=request.text).id
        now_s = time.perf_counter()
        if not library.has_buffer(request.path) or now_s - self._read_s.get(request.path, 0.0) > _FRESH_S:
            library.put(request.path, request.text, language)
            self._read_s[request.path] = now_s
        facts = library.facts(request.path)
        assert facts is not None
        site = look_around(text=request.text, offset=request.offset, path=request.path, language=language, facts=facts)
        library.limit(is_late)
        candidates = Gatherer(library, site, request.text, self.recent, is_late, self._likeness).gather()
        library.limit(None)
        self._cut_short = is_late()
        return site, [one for one in candidates if one.path != request.path and not self._is_private(one.path)]

    def _is_private(self, path: str) -> bool:
        """Whether the editor shows a file of secrets: the index has none, and no other file's prompt gets it either."""
        return self.library.has_buffer(path) and is_secret_name(path)

    def _clock(self) -> Callable[[], bool]:
        """Starts the time limit; what is returned tells whether it is over. Ranking needs what is left of it."""
        limit_s = float("inf") if self._time_limit_ms is None else _GATHERING * self._time_limit_ms / 1000
        until_s = time.perf_counter() + limit_s
        return lambda: time.perf_counter() > until_s

    def ranked(self, request: CompletionRequest) -> list[Ranked]:
        """Every candidate, best first."""
        site, candidates = self.gather(request)
        return rank(candidates, site)

    def snippets(self, request: CompletionRequest, budget: Budget | None = None) -> tuple[Snippet, ...]:
        """The picks for the prompt.

        Snippets stand first in a prompt, so a change of them costs reading all of it anew. So the same are shown for
        as long as the cursor stays where they were chosen for: in its definition, or within a few lines.
        """
        budget = budget or Budget()
        held = self._held.get(request.path)
        if held and held.budget == budget and _stays(held, request):
            return held.snippets
        site, candidates = self.gather(request)
        texts = [(one, self.shown(one.candidate, budget)) for one in rank(candidates, site)[:_CHOSEN_FROM]]
        cached = held.places if held else frozenset()
        picks = _steady(choose([(one, text) for one, text in texts if text], budget, cached), cached)
        places = frozenset((one.candidate.path, one.text) for one in picks)
        snippets = tuple(map(_snippet, picks))
        if self._cut_short:
            self._held.pop(request.path, None)  # the next key finds warm caches, and more
            return snippets
        self._held[request.path] = _Held(site.line, site.receiver, budget, snippets, places)
        return snippets

    def opened(self, path: str, text: str, language: str) -> None:
        """The editor opened a document: read it before anybody asks."""
        self.library.put(path, text, language)
        read_ahead(text)

    def moved(self, path: str) -> None:
        """Choose anew at the next question, wherever its cursor is."""
        self._held.pop(path, None)

    def forget(self, path: str) -> None:
        """The editor closed a document."""
        self.library.forget(path)
        self._held.pop(path, None)
        self._read_s.pop(path, None)

    def shown(self, one: Candidate, budget: Budget) -> str:
        """What a prompt would show of a candidate, without secrets."""
        if one.definition is None:
            text = self.library.lines(one.path, one.first_line, one.last_line)
        elif one.definition.kind == "class":
            text = "\n".join([one.definition.text, *self._members(one)])
        else:
            text = one.definition.text
        if len(text) > budget.snippet_characters:
            cut = text.rfind("\n", 0, budget.snippet_characters)
            text = text[: max(cut, 0)] or text[: budget.snippet_characters]
        return redact(text).strip("\n")

    def _members(self, one: Candidate) -> list[str]:
        """The first lines of a class's members, as far as its own text does not show them."""
        assert one.definition is not None
        shown = one.definition.text
        lines = []
        for member in members(self.library, one.path, one.name):
            inside = one.first_line < member.first_line <= one.last_line
            first = next((line for line in member.text.split("\n") if member.name in line), "")
            if inside and first.strip() and first not in shown and not member.name.startswith("_"):
                lines.append(first)
        return lines[:_MEMBERS_SHOWN]


def _stays(held: _Held, request: CompletionRequest) -> bool:
    """Whether the cursor is still where the held snippets were chosen for."""
    line = request.text.count("\n", 0, request.offset) + 1
    if abs(line - held.line) > _SAME_PLACE_LINES:
        return False
    return receiver_at(request.text, request.offset) in ((), held.receiver)


def _steady(picks: list[Shown], cached: frozenset[tuple[str, str]]) -> list[Shown]:
    """What the last prompt showed comes first, as it stood there; what is new comes behind: the cache holds longest."""
    return sorted(
        picks,
        key=lambda one: (
            (one.candidate.path, one.text) not in cached,
            one.candidate.path,
            one.candidate.first_line,
        ),
    )


def _snippet(one: Shown) -> Snippet:
    candidate = one.candidate
    return Snippet(
        source=candidate.source,
        path=candidate.path,
        first_line=candidate.first_line,
        last_line=candidate.last_line,
        text=one.text,
        reason=candidate.reason,
    )
