"""What could be worth showing at a cursor, each source by itself, with what ranking needs to know of each candidate.

Sources, by how directly they bear on the cursor: members of the receiver, names that are imported, members of imported
modules, inherited members, names in use nearby that are defined elsewhere, the counterpart of a test, chunks that look
alike, and what was lately edited or viewed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from completion.context.facts import Definition
from completion.context.library import Library
from completion.context.resolve import Place, bindings, follow, is_package, members, module_of, resolve
from completion.context.site import Surroundings
from completion.context.words import names

_QUERY_WORDS = 12
_CHUNKS = 12
_MODULE_MEMBERS = 100
_BASES_DEPTH = 5
_ANNOTATED = r"\b{}\s*(?::\s*|=\s*(?:await\s+|new\s+)?)[\"']?(?:\w+\.)*?([A-Za-z_]\w*)"
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


@dataclass(slots=True)
class Recent:
    """Places that were edited or viewed lately, newest first."""

    edited: list[tuple[str, int]] = field(default_factory=list)
    """(path, line)"""
    viewed: list[str] = field(default_factory=list)


class Gatherer:
    """Collects the candidates of one cursor. `is_late` ends it early: what is there by then is used."""

    def __init__(
        self, library: Library, site: Surroundings, text: str, recent: Recent, is_late: Callable[[], bool]
    ) -> None:
        self._library, self._site, self._text = library, site, text
        self._recent = recent
        self._is_late = is_late

    def gather(self) -> list[Candidate]:
        """All candidates, each place once, from the source that found it first."""
        found: dict[tuple[str, int, str], Candidate] = {}
        try:
            for source in (self._receiver, self._imported, self._inherited, self._nearby, self._recently, self._pair):
                for one in source():
                    found.setdefault((one.path, one.first_line, one.name), one)
                    if self._is_late():
                        return list(found.values())
            alike = list(self._alike())
        except sqlite3.OperationalError:
            return list(found.values())  # the time is up, or the index is being made anew
        self._count_peers(alike, list(found.values()))
        for one in alike:
            found.setdefault((one.path, one.first_line, one.name), one)
        return list(found.values())

    def _receiver(self) -> Iterator[Candidate]:
        """Members of what stands before the dot: a module, an instance of a known class, the class itself."""
        if not self._site.receiver:
            return
        head = self._site.receiver[0]
        if head in ("self", "cls", "this") and len(self._site.receiver) == 1:
            return
        if one := bindings(self._library, self._site.path).get(head):
            for path in module_of(self._library, self._site.path, one):
                yield from self._of_module(path, head, source="receiver")
        for path, owner in self._class_of(head):
            yield from self._of_class(path, owner.name, f"a member of {head}, which is {owner.name}", "receiver")

    def _imported(self) -> Iterator[Candidate]:
        for alias, one in bindings(self._library, self._site.path).items():
            if self._is_late():
                return
            places = follow(self._library, self._site.path, one) if one.name not in ("", "*") else []
            for path, definition in places:
                yield _of(path, definition, "import", f"imported as {alias}", alias)
            if not places:
                for path in module_of(self._library, self._site.path, one)[:1]:
                    yield from self._of_module(path, alias, source="module")
        facts = self._library.facts(self._site.path)
        for one in facts.imports if facts else ():
            if one.name == "*":
                for path in module_of(self._library, self._site.path, one)[:1]:
                    yield from self._of_module(path, "", source="wildcard")

    def _inherited(self) -> Iterator[Candidate]:
        """Members of the classes that the class around the cursor builds on, in other files."""
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
        local = {one.name for one in facts.definitions} if facts else set()
        bound = bindings(self._library, self._site.path)
        asked = [name for name, _ in self._site.near.most_common(40) if len(name) > 3]
        for name in asked:
            if name in local or name in bound or self._is_late():
                continue
            places = [place for place in self._library.definitions_named(name) if place[0] != self._site.path]
            if 0 < len(places) <= 6:
                places.sort(key=lambda place: (_far(self._site.path, place[0]), place[0], place[1].first_line))
                yield _of(*places[0], "name", f"{name} stands near the cursor", name)

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
        stem = PurePosixPath(self._site.path).name.split(".")[0]
        plain = re.sub(r"^test_|_test$|_spec$|Tests?$", "", stem)
        wanted = [plain] if plain != stem else [f"test_{stem}", f"{stem}_test", f"{stem}Test"]
        for other in wanted:
            for path in self._library.paths_with_stem(other)[:2]:
                if path == self._site.path:
                    continue
                for definition in members(self._library, path, "")[:20]:
                    yield _of(path, definition, "pair", "the code of this test, or its test", definition.name)

    def _alike(self) -> Iterator[Candidate]:
        weights = self._site.near_words
        rare = self._library.rare([word for word, _ in weights.most_common(60)])[:_QUERY_WORDS]
        for hit in self._library.search(rare, limit=_CHUNKS):
            if hit.path != self._site.path:
                yield Candidate(
                    source="alike",
                    path=hit.path,
                    name="",
                    first_line=hit.first_line,
                    last_line=hit.last_line,
                    reason="looks like the code around the cursor",
                    score=hit.score,
                )

    def _count_peers(self, alike: list[Candidate], others: list[Candidate]) -> None:
        """Which candidates does similar code use?"""
        texts = [set(names(self._library.lines(one.path, one.first_line, one.last_line))) for one in alike]
        for one in others:
            one.peers = sum(one.name in text for text in texts)

    def _of_module(self, path: str, alias: str, *, source: str) -> Iterator[Candidate]:
        """What a module offers: first what this file names already, then as much more as there is room for."""
        reason = f"a member of the module {alias or path}"
        own = {one.name: one for one in members(self._library, path, "")}
        handed_on = bindings(self._library, path)
        offered = [name for name in dict.fromkeys([*own, *handed_on]) if name != alias]
        in_use = [name for name in offered if self._site.uses[name]]
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

    def _class_of(self, name: str) -> list[Place]:
        """Classes that a variable may be an instance of, from its annotation or the call that made it."""
        before = self._text.split("\n")[: self._site.line]
        pattern = re.compile(_ANNOTATED.format(re.escape(name)))
        types = [match[1] for line in before[-200:] for match in pattern.finditer(line)]
        for type_name in [name, *reversed(types)]:
            places = resolve(self._library, self._site.path, type_name)
            if places and places[0][1].kind == "class":
                return places
        return []


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
