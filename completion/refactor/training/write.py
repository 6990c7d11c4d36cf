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
from completion.refactor.training.scene import FrozenNames, Names, Scene, Source, make_scene, outline_of
from completion.refactor.training.wishes import Case, WishMaker, draw_kind
from completion.refactor.wish import Symbol
from model.errors import UsageError

_SHARES = {"python": 0.72, "typescript": 0.2, "javascript": 0.08}
_MOST_PROMPT_CHARACTERS = 1400
_MOST_SCENES = 3000
_KEPT_PACKAGES = 25
_TRIES = 10


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
        for _ in range(_MOST_SCENES):
            if (scene := self._scene(rng)) is None:
                continue
            if cases := self._made(drawn, scene, rng):
                return cases
        raise UsageError(f"The files have nothing for a wish of kind {drawn}.", hint="Give more files.")

    def scene_cases(self, number: int, *, wishes: int) -> list[Case]:
        """The turns of some wishes about scene number `number`, as many as it has something for.

        Raises `UsageError` where the files have no scene.
        """
        rng = random.Random(f"{self._seed}/scene/{number}")
        for _ in range(_MOST_SCENES):
            if (scene := self._scene(rng)) is not None:
                return [case for _ in range(wishes) for case in self._insist(draw_kind(rng), scene, rng)]
        raise UsageError("The files have no scene for wishes.", hint="Give more files.")

    def scenes(self, count: int, *, wishes: int) -> Iterator[list[Case]]:
        """The turns of scene after scene, `count` turns in all and the rest of the last scene."""
        made = number = 0
        while made < count:
            cases = self.scene_cases(number, wishes=wishes)
            number += 1
            made += len(cases)
            if cases:
                yield cases

    def _scene(self, rng: random.Random) -> Scene | None:
        languages = [language for language in _SHARES if self._files[language]]
        language = rng.choices(languages, [_SHARES[one] for one in languages])[0]
        return make_scene(*rng.choice(self._files[language]), rng)

    def _insist(self, kind: str, scene: Scene, rng: random.Random) -> list[Case]:
        """A wish of this kind, if the scene gives one at all: kinds that need much would else be rare."""
        tries = (self._made(kind, scene, rng) for _ in range(_TRIES))
        return next((cases for cases in tries if cases), [])

    def _made(self, kind: str, scene: Scene, rng: random.Random) -> list[Case]:
        others = [one for one in self._packages[scene.source.package] if one.path != scene.path]
        cases = self._maker.make(kind, scene, rng.sample(others, min(8, len(others))), rng)
        return cases if all(_characters(case) < _MOST_PROMPT_CHARACTERS for case in cases) else []


def read_corpus(path: Path, *, files: int, seed: int, kept: bool = False) -> list[Source]:
    """Some files of a training corpus (`files.jsonl`), tests left out: the same ones for the same seed. `kept`: of the
    packages that are never trained on, one in twenty-five, for whoever tunes by what they see."""
    found: list[Source] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            plain = row["language"] in _SHARES and "test" not in row["path"] and 400 < len(row["text"]) < 60_000
            if plain and row["weight"] > 0.0 and is_kept(row["package"]) == kept:
                found.append(Source(row["package"], row["path"], row["language"], row["text"]))
    found.sort(key=lambda one: zlib.crc32(f"{seed}/{one.package}/{one.path}".encode()))
    return found[:files]


def is_kept(package: str) -> bool:
    """Whether a package is never trained on, though it is in the corpus."""
    return zlib.crc32(package.encode()) % _KEPT_PACKAGES == 0


def row_of(case: Case, scene: int) -> dict[str, Any]:
    """A case as a line of the file."""
    segments = [[segment.text, segment.special] for segment in prompt(case.wish)]
    return {"prompt": segments, "answer": write(case.calls), "end": END, "kind": case.kind, "scene": scene}


def write_dialogues(stage: Stage, path: Path, *, count: int, wishes: int) -> None:
    """Write the file: a header, then at least `count` dialogues, neighbours about the same scene by so many wishes."""
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"family": FAMILY}) + "\n")
        for number, cases in enumerate(stage.scenes(count, wishes=wishes)):
            for case in cases:
                out.write(json.dumps(row_of(case, number), ensure_ascii=False) + "\n")


def _characters(case: Case) -> int:
    return sum(len(segment.text) for segment in prompt(case.wish))
