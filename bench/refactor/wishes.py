"""Wishes about whole held-out packages, each with the texts that the right calls leave behind.

The wishes are in the words of `bench.quality.phrases`; the view has the whole outline of its file, as an editor gives
it. A wish whose right calls the tools refuse, or that names something ambiguous, is left out when the set is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from bench.quality.phrases import HELD_OUT
from completion.refactor.calls import AnyCall, Decline
from completion.refactor.carry_out import carry_out
from completion.refactor.layout import enclosing
from completion.refactor.overlay import Overlay
from completion.refactor.symbols import outline
from completion.refactor.training.scene import Source
from completion.refactor.training.write import Stage
from completion.refactor.wish import View, Wish
from model.train import corpus
from model.train.filters import is_test, reject

SEED = 4048
PACKAGES = ("attrs", "flask", "marshmallow", "requests", "starlette", "structlog", "tinydb", "toolz")
ACTS: Mapping[str, int] = MappingProxyType(
    {
        "rename": 12,
        "move_symbol": 5,
        "extract_function": 8,
        "extract_variable": 6,
        "inline": 5,
        "add_parameter": 5,
        "change_parameter": 8,
        "organize_imports": 4,
        "rewrite": 4,
        "edit": 4,
        "parallel": 4,
        "lookup": 6,
    }
)
DECLINES: Mapping[str, int] = MappingProxyType(
    {"chat": 3, "unclear": 3, "destructive": 4, "other_task": 3, "no_new_name": 3, "taken": 4, "foreign": 6}
)
"""`foreign`: about a symbol of another package, which nothing finds."""
_MOST_TRIES = 60


@dataclass(frozen=True, slots=True)
class Task:
    """A wish in a package, the right calls, and the files that they change, by path; nothing where it is declined."""

    kind: str
    package: str
    root: Path
    wish: Wish
    calls: tuple[AnyCall, ...]
    after: Mapping[str, str | None]


def unpack(packages: Path, folder: Path) -> list[Source]:
    """Write the Python packages of the bench under `folder`, each in a root of its own; return their plain files."""
    found: list[Source] = []
    for package in corpus.read_archives(packages / "pypi"):
        if package.name.lower() not in PACKAGES:
            continue
        for path, text in package.files:
            file = folder / package.name.lower() / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            if path.endswith(".py") and reject(path, text) is None and not is_test(path) and len(text) < 60_000:
                found.append(Source(package.name.lower(), path, "python", text))
    return sorted(found, key=lambda one: (one.package, one.path))


def changed(overlay: Overlay) -> dict[str, str | None]:
    """The texts of the files that differ from the disk; None for one that is gone."""
    return {change.path: change.after for change in overlay.changes() if change.before != change.after}


def make_tasks(sources: list[Source], folder: Path, *, share: float = 1.0) -> Iterator[Task]:
    """The wishes of the bench, always the same; a share of each kind."""
    stage = Stage(sources, HELD_OUT, seed=SEED)
    homes = {source.path: source for source in sources}
    for order, (kind, count) in enumerate({**ACTS, **DECLINES}.items()):
        made, number = 0, 0
        while made < max(1, round(count * share)) and number < _MOST_TRIES:
            task = _task(stage, homes, folder, kind, 1000 * order + number)
            number += 1
            if task is not None:
                made += 1
                yield task


def _task(stage: Stage, homes: Mapping[str, Source], folder: Path, kind: str, number: int) -> Task | None:
    cases = stage.case(number, kind="rename" if kind == "foreign" else kind)
    wish, calls = cases[0].wish, cases[-1].calls
    if not wish.view.path:
        return None
    source = homes[wish.view.path]
    if kind == "foreign":
        strangers = [one for one in homes.values() if one.package != source.package]
        if wish.view.selected or not strangers:
            return None
        source = strangers[number % len(strangers)]
        calls = (Decline(reason="There is no such symbol."),)
        wish = replace(wish, view=View(path=source.path, language="python"))
    view = replace(wish.view, outline=outline(source.text, source.path))
    wish = replace(wish, view=view)
    root = folder / source.package
    if kind in DECLINES:
        return Task(kind, source.package, root, wish, calls, {})
    if kind != "lookup" and not all(_clear(call, wish) for call in calls):
        return None
    after = outcome(calls, root, prefer=source.path)
    return Task(kind, source.package, root, wish, calls, after) if after else None


def outcome(calls: tuple[AnyCall, ...], root: Path, *, prefer: str) -> dict[str, str | None]:
    """What calls leave behind; nothing where one of them is refused."""
    overlay = Overlay(root)
    for call in calls:
        if not carry_out(call, overlay, prefer=prefer).done:  # type: ignore[arg-type]
            return {}
    return changed(overlay)


def _clear(call: AnyCall, wish: Wish) -> bool:
    """Whether the wish can mean but one symbol of the file."""
    name = getattr(call, "symbol", None) or getattr(call, "source", None)
    if not isinstance(name, str) or "/" in name or name in wish.instruction:
        return True
    short = name.rpartition(".")[2]
    holder = enclosing(wish.view)
    if short in wish.instruction:
        twins = [one for one in wish.view.outline if one.name.rpartition(".")[2] == short]
        return len(twins) <= 1
    return holder is not None and name in (holder.name, f"{holder.name}.{short}")
