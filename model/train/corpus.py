"""The training corpus: source files of permissively licensed packages, filtered, near-duplicates removed, weighted.

It knows nothing of tokens. What was taken and what was left out, and why, is counted in the data card.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from datasketch import MinHash, MinHashLSH

from model.train import archive
from model.train.archive import Package
from model.train.filters import is_test, language_of, long_lines, overlaps, reject
from model.train.licence import is_permissive

SOURCES = Path(__file__).with_name("sources.json")
_PERMUTATIONS = 64
_NEAR_DUPLICATE = 0.7
_SHINGLE_WORDS = 5
_WORD = re.compile(r"\w+")
_TEST_WEIGHT = 0.2
_PACKAGE_CAP_CHARS = 400_000
"""A package weighs in the mixture as if it had no more text than this."""
_PACKAGE_FILES_CHARS = 800_000
"""No more text than this is kept of one package."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the corpus. `weight`: how much more or less often its text is drawn than other text of its size."""

    package: str
    path: str
    language: str
    text: str
    weight: float = 1.0


@dataclass(slots=True)
class DataCard:
    """What went into a corpus: packages with versions and licences, and counts of what was left out, by reason."""

    packages: list[dict[str, Any]] = field(default_factory=list)
    skipped_packages: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    chars: Counter[str] = field(default_factory=Counter)


def sources(ecosystem: str, *, held_out: bool = False) -> dict[str, str]:
    """Packages and their versions: those that the embedded model learned from, or those kept for the evaluation.

    `ecosystem` is "pypi" or "npm".
    """
    table = json.loads(SOURCES.read_text(encoding="utf-8"))
    versions: dict[str, str] = table["held_out"][ecosystem] if held_out else table[ecosystem]
    return versions


def held_out_names() -> frozenset[str]:
    """Packages that no corpus may hold, since the evaluation asks about them."""
    return frozenset(name for ecosystem in ("pypi", "npm") for name in sources(ecosystem, held_out=True))


def humaneval_lines(path: Path) -> frozenset[str]:
    """The long lines of HumanEval's single-line infilling tasks (JSON lines, gzipped), for `overlaps`."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        tasks = [json.loads(line) for line in lines]
    fields = ("prompt", "canonical_solution", "suffix", "test")
    return long_lines("".join(task[name] for name in fields[:3]) for task in tasks) | long_lines(
        task["test"] for task in tasks
    )


def build(
    packages: Iterable[Package], *, excluded_lines: frozenset[str], held_out: Iterable[Package] = ()
) -> tuple[list[SourceFile], DataCard]:
    """Filter, de-duplicate and weigh the files of `packages`.

    `excluded_lines`: a file with one of these lines is left out. `held_out`: packages whose files, and near copies of
    them in other packages, are left out.
    """
    card = DataCard()
    seen = MinHashLSH(threshold=_NEAR_DUPLICATE, num_perm=_PERMUTATIONS)
    for package in held_out:
        for path, text in package.files:
            _insert(seen, f"held-out {package.name}/{path}", text)
    names = held_out_names()
    corpus: list[SourceFile] = []
    for package in packages:
        if package.name in names:
            card.skipped_packages[package.name] = "held out"
        elif not is_permissive(package.licence):
            card.skipped_packages[package.name] = f"licence: {package.licence[:60] or 'not declared'}"
        else:
            files = list(_keep(package, seen=seen, excluded_lines=excluded_lines, card=card))
            corpus += _weigh(files, found=len(package.files))
            _count(card, package, files)
    return corpus, card


def _keep(
    package: Package, *, seen: MinHashLSH, excluded_lines: frozenset[str], card: DataCard
) -> Iterator[SourceFile]:
    kept_chars = 0
    typescript = any(path.endswith((".ts", ".tsx")) and reject(path, text) is None for path, text in package.files)
    # Source before tests, so that a package's limit is not spent on its tests; else in no order that favours a folder.
    for path, text in sorted(package.files, key=lambda file: (is_test(file[0]), zlib.crc32(file[0].encode()))):
        reason = reject(path, text)
        if reason is None and typescript and language_of(path) == "javascript":
            reason = "compiled"
        if reason is None and kept_chars + len(text) > _PACKAGE_FILES_CHARS:
            reason = "package limit"
        if reason is None and overlaps(text, excluded_lines):
            reason = "evaluation overlap"
        if reason is None and not _insert(seen, f"{package.name}/{path}", text):
            reason = "near duplicate"
        if reason is not None:
            card.left_out[reason] += 1
            continue
        kept_chars += len(text)
        language = language_of(path)
        assert language is not None
        yield SourceFile(package.name, path, language, text, _TEST_WEIGHT if is_test(path) else 1.0)


def _insert(seen: MinHashLSH, key: str, text: str) -> bool:
    """Remember a text, unless a near copy is there already. Returns whether it was new."""
    words = _WORD.findall(text)
    shingles = {" ".join(words[i : i + _SHINGLE_WORDS]).encode() for i in range(max(1, len(words) - _SHINGLE_WORDS))}
    signature = MinHash(num_perm=_PERMUTATIONS)
    signature.update_batch(list(shingles))
    if key in seen or seen.query(signature):
        return False
    seen.insert(key, signature)
    return True


def _weigh(files: list[SourceFile], *, found: int) -> list[SourceFile]:
    """Scale weights so that big packages, and those that mostly repeat themselves, do not dominate."""
    chars = sum(len(file.text) for file in files)
    if not chars:
        return files
    factor = min(1.0, _PACKAGE_CAP_CHARS / chars) * min(1.0, 0.25 + len(files) / found)
    return [replace(file, weight=file.weight * factor) for file in files]


def _count(card: DataCard, package: Package, files: list[SourceFile]) -> None:
    for file in files:
        card.files[file.language] += 1
        card.chars[file.language] += len(file.text)
    row = {"ecosystem": package.ecosystem, "name": package.name, "version": package.version}
    counts = {"files": len(files), "chars": sum(len(file.text) for file in files)}
    card.packages.append({**row, "licence": package.licence[:80], **counts})


def save(corpus: Iterable[SourceFile], card: DataCard, folder: Path) -> None:
    """Write `files.jsonl` and `card.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "files.jsonl").open("w", encoding="utf-8") as out:
        for file in corpus:
            out.write(json.dumps(asdict(file)) + "\n")
    rows = {name: getattr(card, name) for name in ("packages", "skipped_packages", "left_out", "files", "chars")}
    (folder / "card.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def load(folder: Path) -> list[SourceFile]:
    """Read what `save` wrote."""
    with (folder / "files.jsonl").open(encoding="utf-8") as lines:
        return [SourceFile(**json.loads(line)) for line in lines]


def load_card(folder: Path) -> dict[str, Any]:
    """The data card that `save` wrote, for `model.train.card`."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card


def read_archives(folder: Path) -> Iterator[Package]:
    """Every package in `folder`, by file name."""
    for path in sorted(folder.iterdir()):
        package = archive.read(path)
        if package is not None:
            yield package
