"""Cursors in whole files with what its author wrote there: for what depends on all of a file, such as its syntax."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.quality.tasks import files
from model.train.corpus import SourceFile
from model.train.cuts import CutKind, Cutter, draw_kind

LONGEST_CHARS = 60_000
"""Longer files are passed over: they are data more often than code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A cursor at `offset` in `text`, from which `reference` was cut."""

    package: str
    path: str
    language: str
    kind: str
    text: str
    offset: int
    reference: str

    @property
    def whole(self) -> str:
        """The file as its author wrote it."""
        return self.filled(self.reference)

    def filled(self, text: str) -> str:
        """The file with `text` at the cursor."""
        return self.text[: self.offset] + text + self.text[self.offset :]

    def right(self, text: str) -> bool:
        """Is `text` what the author wrote, or whole first lines of it?"""
        said = text.rstrip()
        return bool(said) and (said == self.reference.rstrip() or self.reference.startswith(said + "\n"))


def held_out_positions(folder: Path, *, count: int, seed: int) -> list[Position]:
    """Positions in the held-out packages, half Python and half TypeScript."""
    return _positions(list(files(folder)), count=count, seed=seed)


def corpus_positions(corpus: Path, *, count: int, seed: int, whole_lines: float = 0.25) -> list[Position]:
    """Positions in a training corpus as `tersely train collect` writes it; a share of them on a line of their own."""
    rng = random.Random(seed)
    kept: list[SourceFile] = []
    with corpus.open(encoding="utf-8") as lines:
        for line in lines:
            if rng.random() < 0.2:
                row = json.loads(line)
                kept.append(SourceFile(row["package"], row["path"], row["language"], row["text"]))
    return _positions(kept, count=count, seed=seed, whole_lines=whole_lines)


def _positions(found: Sequence[SourceFile], *, count: int, seed: int, whole_lines: float = 0.0) -> list[Position]:
    """Every language has the same share, every package in it, and every character of a package."""
    by_language: dict[str, dict[str, list[SourceFile]]] = defaultdict(lambda: defaultdict(list))
    for file in found:
        if len(file.text) <= LONGEST_CHARS:
            by_language[file.language][file.package].append(file)
    rng = random.Random(seed)
    sources = [_draw(packages, rng, whole_lines) for _, packages in sorted(by_language.items())]
    return [next(sources[number % len(sources)]) for number in range(count)]


def _draw(packages: dict[str, list[SourceFile]], rng: random.Random, whole_lines: float) -> Iterator[Position]:
    names = sorted(packages)
    while True:
        own = packages[rng.choice(names)]
        file = rng.choices(own, [len(one.text) for one in own])[0]
        if whole_lines and rng.random() < whole_lines:
            if (position := whole_line(file, rng)) is not None:
                yield position
            continue
        kind: CutKind = draw_kind(rng)
        cut = Cutter(file.text, file.language).cut_kind(kind, rng)
        if cut is not None:
            yield Position(
                package=file.package,
                path=file.path,
                language=file.language,
                kind=str(kind),
                text=file.text[: cut.start] + file.text[cut.end :],
                offset=cut.start,
                reference=file.text[cut.start : cut.end],
            )


def whole_line(file: SourceFile, rng: random.Random) -> Position | None:
    """A line of code, gone but for its indentation, as when a line was opened for it; None where a line is blank."""
    lines = file.text.splitlines(keepends=True)
    number = rng.randrange(len(lines)) if lines else 0
    line = lines[number].rstrip() if lines else ""
    code = line.lstrip()
    if not code or code.startswith(("#", "//", "/*", "*")):
        return None
    start = sum(map(len, lines[:number])) + len(line) - len(code)
    return Position(
        package=file.package,
        path=file.path,
        language=file.language,
        kind="whole line",
        text=file.text[:start] + file.text[start + len(code) :],
        offset=start,
        reference=code,
    )
