"""What each package of the corpus defines, as snippets: what retrieval would put before the model.

Names are matched by spelling, with no resolution: a name that many files define is taken to be ambiguous.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from model.fim import Snippet
from model.train.corpus import SourceFile

_PYTHON = re.compile(r"^([ \t]*)(?:async[ ]+)?(?:def|class)[ ]+(\w+)", re.MULTILINE)
_SCRIPT = re.compile(
    r"^([ \t]*)(?:export[ ]+)?(?:default[ ]+)?(?:abstract[ ]+)?(?:declare[ ]+)?(?:async[ ]+)?"
    r"(?:function\*?|class|interface|type|enum|const)[ ]+(\w+)",
    re.MULTILINE,
)
_NAME = re.compile(r"[A-Za-z_]\w{3,}")
_MAX_DEFINERS = 3
_MAX_LINES = 8


@dataclass(frozen=True, slots=True)
class _Place:
    path: str
    name: str
    start: int
    indent: int
    file: int


class Definitions:
    """Per package: name → where it is defined. A package is indexed when it is first asked about."""

    def __init__(self, corpus: Sequence[SourceFile], *, max_chars: int) -> None:
        self._corpus = corpus
        self._max_chars = max_chars
        self._files: dict[str, list[int]] = defaultdict(list)
        for number, file in enumerate(corpus):
            self._files[file.package].append(number)
        self._indexed: dict[str, dict[str, list[_Place]]] = {}

    def used(self, file: SourceFile, text: str) -> list[Snippet]:
        """Definitions, in other files of the package, of names that `text` uses."""
        index = self._index(file.package)
        names = sorted(set(_NAME.findall(text)))
        places = [place for name in names for place in index.get(name, ()) if place.path != file.path]
        return [self._snippet(place) for place in places]

    def others(self, file: SourceFile, count: int, rng: random.Random) -> list[Snippet]:
        """Up to `count` random definitions of other files of the package."""
        index = self._index(file.package)
        if not index or count <= 0:
            return []
        names = rng.choices(list(index), k=count)
        places = [rng.choice(index[name]) for name in names]
        return [self._snippet(place) for place in places if place.path != file.path]

    def _index(self, package: str) -> dict[str, list[_Place]]:
        if package not in self._indexed:
            index: dict[str, list[_Place]] = defaultdict(list)
            for number in self._files[package]:
                file = self._corpus[number]
                pattern = _PYTHON if file.language == "python" else _SCRIPT
                for match in pattern.finditer(file.text):
                    place = _Place(file.path, match.group(2), match.start(), len(match.group(1)), number)
                    index[place.name].append(place)
            self._indexed[package] = {
                name: places
                for name, places in index.items()
                if len({place.path for place in places}) <= _MAX_DEFINERS and _NAME.fullmatch(name)
            }
        return self._indexed[package]

    def _snippet(self, place: _Place) -> Snippet:
        """The definition's first lines: its header, and what is indented deeper."""
        text = self._corpus[place.file].text
        lines = text[place.start : place.start + self._max_chars].split("\n")
        if place.start + self._max_chars < len(text) and len(lines) > 1:
            lines.pop()
        kept = lines[:1]
        for line in lines[1:_MAX_LINES]:
            if line.strip() and len(line) - len(line.lstrip()) <= place.indent and line.strip()[0] not in ")}]":
                break
            kept.append(line)
        while not kept[-1].strip():
            kept.pop()
        return Snippet(place.path, "\n".join(kept))
