"""The demonstration: ghost text at several places of the sample repository, asked for as an editor would."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from completion.api import CompletionRequest, Suggestion
from completion.service import EngineCompleter
from model.errors import UsageError


@dataclass(frozen=True, slots=True)
class Place:
    """A cursor in a file of the sample; `cut` is what its author wrote there, taken away from `text`."""

    path: str
    text: str
    offset: int
    cut: str


def load_places(folder: Path) -> list[Place]:
    """Read `demo.toml` of a folder. Raises `UsageError` where it does not fit the files beside it."""
    try:
        rows = tomllib.loads((folder / "demo.toml").read_text(encoding="utf-8"))["cursor"]
        return [_place(folder, row["file"], row["after"], row["cut"]) for row in rows]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{folder} has no usable demo.toml: {error!r}.", hint="Give a folder that has one.") from error


def _place(folder: Path, name: str, after: str, cut: str) -> Place:
    source = (folder / name).read_text(encoding="utf-8")
    if source.count(after + cut) != 1:
        raise UsageError(
            f"demo.toml names a place in {name} that is there {source.count(after + cut)} times: {after!r}.",
            hint="Make `after` and `cut` match exactly one place.",
        )
    offset = source.index(after + cut) + len(after)
    return Place(name, source[:offset] + source[offset + len(cut) :], offset, cut)


async def play(completer: EngineCompleter, places: list[Place], root: Path) -> AsyncIterator[tuple[Place, Suggestion]]:
    """Ask at each place in turn."""
    for place in places:
        request = CompletionRequest(text=place.text, offset=place.offset, path=place.path, root=str(root))
        yield place, (await completer.attempt(request))[0]
