"""From source files to a file of dialogues that `tersely train --dialogues` reads."""

from __future__ import annotations

import json
import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from completion.refactor.layout import END, FAMILY, prompt, write
from completion.refactor.training.phrasebook import Phrasebook
from completion.refactor.training.scene import FrozenNames, Names, Source, make_scene, outline_of
from completion.refactor.training.wishes import Case, WishMaker, draw_kind
from completion.refactor.wish import Symbol
from model.errors import UsageError

_SHARES = {"python": 0.72, "typescript": 0.2, "javascript": 0.08}
_MOST_PROMPT_CHARACTERS = 1400
_MOST_SCENES = 3000


class Stage:
    """Files with their outlines, and whoever makes wishes about them. The same files and seed give the same wishes."""

    def __init__(self, sources: Sequence[Source], book: Phrasebook, *, seed: int) -> None:
        self._files: dict[str, list[tuple[Source, tuple[Symbol, ...]]]] = defaultdict(list)
        self._packages: dict[str, list[Symbol]] = defaultdict(list)
        names = Names()
        for source in sources:
            outline = outline_of(source)
            if len(outline) > 1:
                self._files[source.language].append((source, outline))
                self._packages[source.package] += outline
                names.add(outline)
        self._maker = WishMaker(book, FrozenNames(names))
        self._seed = seed

    def case(self, number: int, *, kind: str = "") -> list[Case]:
        """The turns of wish number `number`; `kind`: of this kind only.

        Raises `UsageError` where the files have nothing for it.
        """
        rng = random.Random(f"{self._seed}/{number}")
        drawn = kind or draw_kind(rng)
        languages = [language for language in _SHARES if self._files[language]]
        for _ in range(_MOST_SCENES):
            language = rng.choices(languages, [_SHARES[one] for one in languages])[0]
            source, everything = rng.choice(self._files[language])
            scene = make_scene(source, everything, rng)
            if scene is None:
                continue
            others = [one for one in self._packages[source.package] if one.path != source.path]
            cases = self._maker.make(drawn, scene, rng.sample(others, min(8, len(others))), rng)
            if cases and all(_characters(case) < _MOST_PROMPT_CHARACTERS for case in cases):
                return cases
        raise UsageError(f"The files have nothing for a wish of kind {drawn}.", hint="Give more files.")

    def cases(self, count: int) -> Iterator[Case]:
        """The turns of wishes 0, 1, …, `count` turns in all."""
        made = 0
        for number in range(2 * count):
            for case in self.case(number):
                if made < count:
                    made += 1
                    yield case


def read_corpus(path: Path, *, files: int, seed: int) -> list[Source]:
    """Some files of a training corpus (`files.jsonl`), tests left out: the same ones for the same seed."""
    found: list[Source] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            plain = row["language"] in _SHARES and "test" not in row["path"] and 400 < len(row["text"]) < 60_000
            if plain and row["weight"] > 0.0:
                found.append(Source(row["package"], row["path"], row["language"], row["text"]))
    found.sort(key=lambda one: zlib.crc32(f"{seed}/{one.package}/{one.path}".encode()))
    return found[:files]


def row_of(case: Case) -> dict[str, Any]:
    """A case as a line of the file."""
    segments = [[segment.text, segment.special] for segment in prompt(case.wish)]
    return {"prompt": segments, "answer": write(case.calls), "end": END, "kind": case.kind}


def write_dialogues(stage: Stage, path: Path, *, count: int) -> None:
    """Write the file: a header, then `count` dialogues."""
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"family": FAMILY}) + "\n")
        for case in stage.cases(count):
            out.write(json.dumps(row_of(case), ensure_ascii=False) + "\n")


def _characters(case: Case) -> int:
    return sum(len(segment.text) for segment in prompt(case.wish))
