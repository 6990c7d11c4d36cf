"""Wishes with known calls, about packages and in words that the embedded model never saw: the held-out ones, which are
only measured, and the development ones, which may be looked at."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bench.quality.dev_phrases import DEVELOPMENT
from bench.quality.phrases import HELD_OUT
from bench.quality.tasks import files as source_files
from completion.refactor.training.scene import Source
from completion.refactor.training.wishes import DECLINES, Case
from completion.refactor.training.write import Stage, read_corpus

SEED = 2024
_FILES_EACH = 14
_ALL = 1_000_000
COUNTS: Mapping[str, int] = MappingProxyType(
    {
        "rename": 24,
        "rename_local": 8,
        "move_symbol": 16,
        "move_module": 6,
        "extract_function": 22,
        "extract_variable": 18,
        "inline": 18,
        "add_parameter": 16,
        "change_parameter": 26,
        "rewrite": 16,
        "organize_imports": 10,
        "add_types": 12,
        "add_docstring": 14,
        "generate": 12,
        "edit": 10,
        "look": 18,
        "parallel": 16,
        "lookup": 20,
        "chat": 10,
        "unclear": 10,
        "destructive": 10,
        "other_task": 10,
        "planted": 4,
        "no_new_name": 6,
        "no_selection": 6,
        "no_target": 5,
        "taken": 8,
        "bad_name": 6,
        "no_parameter": 7,
        "not_found": 12,
        "ambiguous": 4,
    }
)
"""How many wishes of each kind; a look-up gives two turns."""


def held_out_sources(packages: Path) -> list[Source]:
    """Some files of each held-out package, always the same."""
    found: dict[str, list[Source]] = {}
    for file in source_files(packages):
        if 400 < len(file.text) < 60_000:
            found.setdefault(file.package, []).append(Source(file.package, file.path, file.language, file.text))
    for files in found.values():
        files.sort(key=lambda one: zlib.crc32(one.path.encode()))
    return [one for name in sorted(found) for one in found[name][:_FILES_EACH]]


def held_out_cases(packages: Path, *, share: float = 1.0, seed: int = SEED) -> list[Case]:
    """Every turn of the held-out wishes, or of a share of each kind. `packages`: as `fetch_all` leaves them."""
    return _cases(Stage(held_out_sources(packages), HELD_OUT, seed=seed), share)


def development_cases(corpus: Path, *, share: float = 1.0, seed: int = SEED) -> list[Case]:
    """The same of the development wishes, about the packages of a training corpus that are kept from training.

    `corpus`: its `files.jsonl`.
    """
    found: dict[str, list[Source]] = {}
    for source in read_corpus(corpus, files=_ALL, seed=0, kept=True):
        found.setdefault(source.package, []).append(source)
    sources = [one for name in sorted(found) for one in found[name][:_FILES_EACH]]
    return _cases(Stage(sources, DEVELOPMENT, seed=seed), share)


def _cases(stage: Stage, share: float) -> list[Case]:
    cases: list[Case] = []
    number = 0
    for kind, count in COUNTS.items():
        for _ in range(max(1, round(count * share))):
            cases += [case for case in stage.case(number, kind=kind) if case.kind != "looked"]
            number += 1
    return cases


def is_declined(case: Case) -> bool:
    """Whether the right answer is to decline."""
    return case.kind in DECLINES
