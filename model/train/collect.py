"""Fetching what is learned from: the pinned packages of the embedded model's corpus, or the files of a checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

from model.errors import PullError, UsageError
from model.train import archive, card, corpus
from model.train.archive import Package
from model.train.corpus import SourceFile


def collect(folder: Path, *, humaneval: Path | None) -> corpus.DataCard:
    """Fetch the packages of `sources.json`, and write the corpus and its data card into `folder`.

    `humaneval`: the benchmark's file, to keep its text out.
    """
    for held_out in (False, True):
        fetch_all(folder, held_out=held_out)
    lines = corpus.humaneval_lines(humaneval) if humaneval is not None else frozenset()
    files, counted = corpus.build(
        chain.from_iterable(corpus.read_archives(folder / name) for name in ("pypi", "npm")),
        excluded_lines=lines,
        held_out=chain.from_iterable(corpus.read_archives(folder / "held-out" / name) for name in ("pypi", "npm")),
    )
    corpus.save(files, counted, folder / "corpus")
    text = card.markdown(corpus.load_card(folder / "corpus"), held_out=sorted(corpus.held_out_names()))
    (folder / "corpus" / "data-card.md").write_text(text, encoding="utf-8")
    return counted


def fetch_all(folder: Path, *, held_out: bool) -> list[str]:
    """Fetch the packages that are learned from, or those held out, into a folder for each registry.

    To a corpus, one package less is no reason to stop: what failed is reported, and returned by name; the data card
    lists what went in.
    """
    failed = []
    for ecosystem in ("pypi", "npm"):
        target = (folder / "held-out" if held_out else folder) / ecosystem
        for name, version in corpus.sources(ecosystem, held_out=held_out).items():
            try:
                archive.fetch(name, version, ecosystem=ecosystem, folder=target)
            except PullError as error:
                print(error, file=sys.stderr)
                failed.append(name)
    return failed


def repository_files(root: Path) -> list[SourceFile]:
    """The files of a checkout that are worth learning from, each folder under the root as a package of its own."""
    package = Package("repository", root.resolve().name, "", "MIT", tuple(_tracked(root)))
    files, _ = corpus.build([package], excluded_lines=frozenset())
    if not files:
        raise UsageError(
            f"{root} has no Python, TypeScript or JavaScript to learn from.", hint="Is it the right folder?"
        )
    return [replace(file, package=file.package + "/" + file.path.split("/", 1)[0]) for file in files]


def _tracked(root: Path) -> Iterable[tuple[str, str]]:
    """Files that git tracks; without git, all of them."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    for name in names:
        path = root / name
        if archive.is_source(name, path.stat().st_size if path.is_file() else 0):
            yield name, path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
