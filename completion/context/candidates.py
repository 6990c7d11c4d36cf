"""What could be worth showing at a cursor, each source by itself, with what ranking needs to know of each candidate.

Sources, by how directly they bear on the cursor: members of the receiver, names that are imported, members of imported
modules, inherited members, names in use nearby that are defined elsewhere, what was lately edited or viewed, the
counterpart of a test, callers and siblings of the function around the cursor, and chunks that look alike.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import log

from completion.context.embedding import Likeness
from completion.context.facts import Definition
from completion.context.kin import callers, counterparts, own_class, siblings
from completion.context.library import Library
from completion.context.receivers import OWN, classes_of
from completion.context.resolve import Place, bindings, follow, is_package, members, module_of, resolve
from completion.context.site import Surroundings, echoes_of
from completion.context.store import Hit
from completion.context.words import CHUNK_LINES, names

_QUERY_WORDS = 12
_SEARCHED = 4000
"""Chunks that one search may weigh against each other: about 1 µs each."""
_CHUNKS = 12
_POOL = 40
"""Chunks of like words from which those of like meaning are chosen."""
_BEST_SCORE = 30.0
_STEP = 8
_MODULE_MEMBERS = 100
_BASES_DEPTH = 5
_ASKED = 60
_FREE = frozenset({"class", "type"})
"""Kinds that are named without what they belong to."""
_CLASS_BASES = re.compile(r"class\s+\w+\s*(?:\[[^\]]*\])?\s*(?:\(([^)]*)\)|(?:extends|:)\s*([\w.]+))")


@dataclass(slots=True, kw_only=True)
class Candidate:
    """A place that might go into the prompt. `definition` is None for a chunk of lines."""

    source: str
    path: str
    name: str
    first_line: int
    last_line: int
    definition: Definition | None = None
    reason: str = ""
    known_as: str = ""
    """How the file at the cursor names it, where that is not its own name."""
    score: float = 0.0
    """What the source itself thinks of it: BM25's score, or 1 / rank of what is recent."""
    peers: int = 0
    """In how many of the chunks that look alike its name stands."""
    echo: float = 0.0
    """How much the lines of similar code that name it are placed as the cursor's line is, 0 … 2."""
    company: int = 0
    """How many others of its file are named around the cursor."""


@dataclass(slots=True)
class Recent:
    """Places that were edited or viewed lately, newest first."""

    edited: list[tuple[str, int]] = field(default_factory=list)
    """(path, line)"""
    viewed: list[str] = field(default_factory=list)


class Gatherer:
    """Collects the candidates of one cursor. `is_late` ends it early: what is there by then is used."""

    def __init__(
        self,
        library: Library,
        site: Surroundings,
        text: str,
        recent: Recent,
        is_late: Callable[[], bool],
        likeness: Likeness | None = None,
    ) -> None:
        """`likeness`: reorders chunks that look alike by what they mean."""
        self._library, self._site, self._text = library, site, text
        self._likeness = likeness
        self._recent = recent
        self._is_late = is_late
        self._sources = (
            self._receiver,
            self._imported,
            self._inherited,
            self._nearby,
            self._recently,
            self._pair,
        )

    def gather(self) -> list[Candidate]:
        """All candidates, each place once, from the source that found it first."""
        found: dict[tuple[str, int, str], Candidate] = {}
        try:
            for source in self._sources:
                for one in source():
                    found.setdefault((one.path, one.first_line, one.name), one)
                    if self._is_late():
                        return list(found.values())
            alike = list(self._alike())
            self._count_peers(alike, list(found.values()))
            for one in (*alike, *self._kin()):
                found.setdefault((one.path, one.first_line, one.name), one)
        except sqlite3.OperationalError:
            pass  # the time is up, or the index is being made anew
        return list(found.values())

    def _receiver(self) -> Iterator[Candidate]:
        """Members of what stands before the dot: a module, an instance of a known class, the class itself."""
        chain = self._site.receiver
        if not chain or (chain[0] in OWN and len(chain) == 1):
            return
        if one := bindings(self._library, self._site.path).get(chain[0]):
            for path in module_of(self._library, self._site.path, one):
                yield from self._of_module(path, chain[0], source="receiver")
        for path, owner in classes_of(self._library, self._site, self._text):
            shown = ".".join(chain)
            yield _of(path, owner, "receiver", f"the class of {shown}", owner.name)
            yield from self._of_class(path, owner.name, f"a member of {shown}, which is {owner.name}", "receiver")

    def _imported(self) -> Iterator[Candidate]:
        """What imports name first; then what else the imported modules offer."""
        modules = []
        for alias, one in bindings(self._library, self._site.path).items():
            if self._is_late():
                return
            places = follow(self._library, self._site.path, one) if one.name not in ("", "*") else []
            for path, definition in places:
                yield _of(path, definition, "import", f"imported as {alias}", alias)
            if not places:
                modules.append((alias, one))
        for alias, one in modules:
            for path in module_of(self._library, self._site.path, one):
                yield from self._of_module(path, alias, source="module")
        facts = self._library.facts(self._site.path)
        for one in facts.imports if facts else ():
            if one.name == "*":
                for path in module_of(self._library, self._site.path, one):
                    yield from self._of_module(path, "", source="wildcard")

    def _inherited(self) -> Iterator[Candidate]:
        """Members of the classes that the class around the cursor builds on, in other files."""
        for path, definition in own_class(self._library, self._site):
            yield _of(path, definition, "inherited", "of the class of this function", definition.name)
        classes = [one for one in self._site.enclosing if one.kind == "class"]
        if not classes:
            return
        waiting: list[Place] = [(self._site.path, classes[-1])]
        seen = set()
        for _ in range(_BASES_DEPTH):
            if not waiting:
                return
            path, definition = waiting.pop(0)
            for base in _bases(definition):
                for place in resolve(self._library, path, base):
                    if (place[0], place[1].name) in seen:
                        continue
                    seen.add((place[0], place[1].name))
                    waiting.append(place)
                    if place[0] != self._site.path:
                        yield _of(*place, "base", f"a base class of {classes[-1].name}", place[1].name)
                        yield from self._of_class(*_named(place), f"inherited from {place[1].name}", "inherited")

    def _nearby(self) -> Iterator[Candidate]:
        """Names in use around the cursor that neither this file nor an import defines: by name, nearest file first."""
        facts = self._library.facts(self._site.path)
        own = {one.name for one in facts.definitions} if facts else set()
        bound = bindings(self._library, self._site.path)
        for name, _ in self._site.near.most_common(_ASKED):
            last = name.rpartition(".")[2]
            behind_dot = name.startswith(".")
            if len(last) <= 3 or last in own or last in bound or name in self._site.bound or "." in name[1:]:
                continue
            if self._is_late():
                return
            places = [
                (path, one)
                for path, one in self._library.definitions_named(last, most=6)
                if path != self._site.path and (behind_dot or one.kind in _FREE or not one.owner)
            ]
            if places:
                places.sort(key=lambda place: (_far(self._site.path, place[0]), place[0], place[1].first_line))
                yield _of(*places[0], "name", f"{last} stands near the cursor", name)

    def _recently(self) -> Iterator[Candidate]:
        for rank, (path, line) in enumerate(self._recent.edited):
            facts = self._library.facts(path)
            if path == self._site.path or facts is None:
                continue
            around = [one for one in facts.definitions if one.first_line <= line <= one.last_line]
            if around:
                one = _of(path, around[-1], "edited", "edited lately", around[-1].name)
                one.score = 1 / (1 + rank)
                yield one
        for rank, path in enumerate(self._recent.viewed):
            if path == self._site.path:
                continue
            for definition in [one for one in members(self._library, path, "") if one.kind != "constant"][:8]:
                one = _of(path, definition, "viewed", "viewed lately", definition.name)
                one.score = 1 / (1 + rank)
                yield one

    def _pair(self) -> Iterator[Candidate]:
        """The code of a test, or the test of some code."""
        for path in counterparts(self._library, self._site.path):
            for definition in members(self._library, path, "")[:20]:
                yield _of(path, definition, "pair", "the code of this test, or its test", definition.name)

    def _kin(self) -> Iterator[Candidate]:
        """Callers and siblings of the function around the cursor."""
        for source, found in (("caller", callers), ("sibling", siblings)):
            if self._is_late():
                return
            for lines in found(self._library, self._site):
                yield Candidate(
                    source=source,
                    path=lines.path,
                    name=lines.name,
                    first_line=lines.first_line,
                    last_line=lines.last_line,
                    reason=lines.reason,
                )

    def _alike(self) -> Iterator[Candidate]:
        pool = _CHUNKS if self._likeness is None else _POOL
        hits = [hit for hit in self._library.search(self._telling_words(), limit=pool) if hit.path != self._site.path]
        for hit in self._reordered(hits)[:_CHUNKS]:
            yield Candidate(
                source="alike",
                path=hit.path,
                name="",
                first_line=hit.first_line,
                last_line=hit.last_line,
                reason="looks like the code around the cursor",
                score=hit.score,
            )

    def _reordered(self, hits: list[Hit]) -> list[Hit]:
        """By what they mean, where that is known already; by their words otherwise."""
        if self._likeness is None or not hits:
            return hits
        texts = [self._library.lines(hit.path, hit.first_line, hit.last_line) for hit in hits]
        cosines = self._likeness.compare(self._around(), texts)
        if cosines is None:
            return hits
        order = sorted(zip(cosines, range(len(hits)), strict=True), key=lambda one: (-one[0], one[1]))
        return [replace(hits[index], score=_BEST_SCORE * max(0.0, cosine)) for cosine, index in order]

    def _around(self) -> str:
        """The lines around the cursor, in steps, so that few cursors make few texts."""
        first = max(0, self._site.line - 1 - CHUNK_LINES // 2) // _STEP * _STEP
        return "\n".join(self._text.split("\n")[first : first + CHUNK_LINES])

    def _telling_words(self) -> list[str]:
        """Words near the cursor, by how near and how rare, as many as can be looked up in the time there is."""
        weights = dict(self._site.near_words.most_common(60))
        chunks = self._library.in_chunks(list(weights))
        worth = {word: weight / log(8 + chunks.get(word, 0)) for word, weight in weights.items()}
        chosen: list[str] = []
        left = _SEARCHED
        for word in sorted(worth, key=lambda word: (-worth[word], word)):
            if len(chosen) < _QUERY_WORDS and chunks.get(word, 0) <= left:
                chosen.append(word)
                left -= chunks.get(word, 0)
        return chosen

    def _count_peers(self, alike: list[Candidate], others: list[Candidate]) -> None:
        """Which candidates does similar code use, and where it looks as it does here?"""
        texts, echoes = [], dict[str, float]()
        for one in alike:
            if self._is_late():
                break
            lines = self._library.lines(one.path, one.first_line, one.last_line)
            texts.append(set(names(lines)))
            for name, strength in echoes_of(self._site, lines.split("\n")).items():
                echoes[name] = max(strength, echoes.get(name, 0.0))
        near = self._site.near
        company: Counter[str] = Counter()
        for one in others:
            one.peers = sum(one.name in text for text in texts)
            one.echo = echoes.get(one.name, 0.0)
            company[one.path] += bool(near[reached(one.known_as)])
        for one in others:
            one.company = company[one.path] - bool(near[reached(one.known_as)])

    def _of_module(self, path: str, alias: str, *, source: str) -> Iterator[Candidate]:
        """What a module offers: first what this file names already, then as much more as there is room for."""
        reason = f"a member of the module {alias or path}"
        own = {one.name: one for one in members(self._library, path, "")}
        handed_on = bindings(self._library, path)
        offered = [name for name in dict.fromkeys([*own, *handed_on]) if name != alias]
        in_use = [name for name in offered if self._site.uses[reached(f"{alias}.{name}" if alias else name)]]
        public = [name for name in own if not name.startswith("_")]
        private = [name for name in own if name.startswith("_") and not name.startswith("__")]
        # Whole packages hand names on in their own file; elsewhere an import is the module's private affair.
        others = handed_on if is_package(path) else ()
        for name in dict.fromkeys([*in_use, *public, *others, *private][:_MODULE_MEMBERS]):
            known_as = f"{alias}.{name}" if alias else name
            if name in own:
                yield _of(path, own[name], source, reason, known_as)
            elif handed_on[name].name not in ("", "*"):
                for place in follow(self._library, path, handed_on[name]):
                    yield _of(*place, source, reason, known_as)

    def _of_class(self, path: str, owner: str, reason: str, source: str) -> Iterator[Candidate]:
        for definition in members(self._library, path, owner):
            if not definition.name.startswith("__"):
                yield _of(path, definition, source, reason, definition.name)


def _of(path: str, definition: Definition, source: str, reason: str, known_as: str) -> Candidate:
    return Candidate(
        source=source,
        path=path,
        name=definition.name,
        first_line=definition.first_line,
        last_line=definition.last_line,
        definition=definition,
        reason=reason,
        known_as=known_as,
    )


def reached(known_as: str) -> str:
    """The mention (`completion.context.words.mentions`) by which a file uses what it knows as `a.b`."""
    holder, _, name = known_as.rpartition(".")
    return name if not holder else f".{name}" if "." in holder else known_as


def _named(place: Place) -> tuple[str, str]:
    return place[0], place[1].name


def _bases(definition: Definition) -> list[str]:
    match = _CLASS_BASES.search(definition.text)
    listed = (match[1] or match[2] or "") if match else ""
    return [base.rpartition(".")[2] for base in re.findall(r"[A-Za-z_][\w.]*", listed) if "=" not in base]


def _far(one: str, other: str) -> int:
    left, right = one.split("/")[:-1], other.split("/")[:-1]
    shared = 0
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            break
        shared += 1
    return len(left) + len(right) - 2 * shared
