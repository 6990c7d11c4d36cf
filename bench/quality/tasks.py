"""Questions to the model with known answers: HumanEval's single lines, and holes in packages it never saw."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from completion.settings import PromptBudget
from completion.window import choose_window
from model.fim import Snippet
from model.train import corpus
from model.train.corpus import SourceFile
from model.train.cuts import CutKind, Cutter
from model.train.definitions import Definitions
from model.train.filters import is_test, language_of, reject

HUMANEVAL = Path(__file__).with_name("data") / "HumanEval-SingleLineInfilling.jsonl.gz"
_LOOK_BACK_CHARS = 500
_SNIPPETS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A cursor between `prefix` and `suffix`, and what stood there. `program`: what to run, with `{}` for the answer.

    `snippets` are what retrieval finds; they count only where the task is asked with context.
    """

    name: str
    kind: str
    language: str
    prefix: str
    suffix: str
    reference: str
    path: str = ""
    snippets: tuple[Snippet, ...] = ()
    program: tuple[str, str] | None = None
    """What to run before and behind the answer."""


def humaneval(path: Path, *, count: int | None, seed: int) -> list[Task]:
    """The benchmark in editor form: the line's indentation stands before the cursor, its newline behind.

    `count`: a fixed random sample of that size; None: all 1033.
    """
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if count is not None and count < len(rows):
        rows = random.Random(seed).sample(rows, count)
    return [_editor_form(row) for row in rows]


def _editor_form(row: dict[str, str]) -> Task:
    line = row["canonical_solution"].rstrip("\n")
    indent = line[: len(line) - len(line.lstrip())]
    prefix, suffix = row["prompt"] + indent, "\n" + row["suffix"]
    return Task(
        name=row["task_id"],
        kind="humaneval",
        language="python",
        prefix=prefix,
        suffix=suffix,
        reference=line.strip(),
        program=(prefix, f"{suffix}\n{row['test']}\ncheck({row['entry_point']})\n"),
    )


def held_out(folder: Path, *, counts: dict[CutKind, int], seed: int) -> list[Task]:
    """Holes in the held-out packages under `folder` (as `fetch_all` leaves them): `counts` for each language."""
    known = list(files(folder))
    tasks: list[Task] = []
    for language in sorted({file.language for file in known}):
        own = [file for file in known if file.language == language]
        for kind, count in counts.items():
            tasks += _cut(own, kind, count, random.Random(f"{seed}/{language}/{kind}"))
    return tasks


def files(folder: Path) -> Iterator[SourceFile]:
    """The source files of the held-out packages that ask something."""
    for ecosystem in ("pypi", "npm"):
        for package in corpus.read_archives(folder / ecosystem):
            for path, text in package.files:
                language = language_of(path)
                # Compiled JavaScript beside the TypeScript that it was made from asks nothing new.
                wanted = language == "python" if ecosystem == "pypi" else language == "typescript"
                if wanted and language is not None and reject(path, text) is None and not is_test(path):
                    yield SourceFile(package.name, path, language, text)


def _cut(files: Sequence[SourceFile], kind: CutKind, count: int, rng: random.Random) -> list[Task]:
    """Every package is as likely as every other, and in it every character."""
    packages: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        packages[file.package].append(file)
    definitions = Definitions(files, max_chars=400)
    tasks: list[Task] = []
    while len(tasks) < count:
        own = packages[rng.choice(sorted(packages))]
        file = rng.choices(own, [len(one.text) for one in own])[0]
        cut = Cutter(file.text, file.language).cut_kind(kind, rng)
        if cut is None:
            continue
        window = choose_window(file.text, cut.start, PromptBudget())
        prefix = file.text[window.start : cut.start]
        suffix = file.text[cut.end : max(window.end, cut.end)]
        # What a retriever can know: the names before the cursor, not those of the answer.
        found = definitions.used(file, prefix[-_LOOK_BACK_CHARS:])
        snippets = sorted(rng.sample(found, min(len(found), _SNIPPETS)), key=lambda one: (one.path, one.text))
        tasks.append(
            Task(
                name=f"{file.package}/{file.path}:{cut.start}",
                kind=str(kind),
                language=file.language,
                prefix=prefix,
                suffix=suffix,
                reference=file.text[cut.start : cut.end],
                path=file.path,
                snippets=tuple(snippets),
            )
        )
    return tasks
