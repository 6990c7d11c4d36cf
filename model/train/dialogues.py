"""Training examples that were written elsewhere: prompts of segments with the answers that are due. Knows no layout.

The file is JSON lines. The first is a header, `{"family": NAME}`: the layout that the adapter is to speak. Each other
line is `{"prompt": [[text, is_control_token], …], "answer": text, "end": control token, "kind": word}`. Neighbours with
the same number as `"scene"` are about the same thing: they stay together, since what their prompts share is then
computed once (`model.train.trees`). One scene in fifty is kept for validation, a line without a number being a scene of
its own. Example number i of a seed is always the same; each pass takes the scenes in a new order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.api import Segment
from model.errors import UsageError
from model.train.examples import Encode, Example

_VALIDATION_SCENES = 50


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A prompt, and what the model must say."""

    prompt: tuple[Segment, ...]
    answer: str
    end: str
    kind: str
    scene: int | None = None


@dataclass(frozen=True, slots=True)
class Dialogues:
    """A file's dialogues, and the family that its header names."""

    family: str
    rows: tuple[Dialogue, ...]

    def for_training(self) -> tuple[Dialogue, ...]:
        """All but those of `for_validation`."""
        kept = [scene for number, scene in enumerate(scenes(self.rows)) if number % _VALIDATION_SCENES]
        return tuple(row for scene in kept for row in scene)

    def for_validation(self) -> tuple[Dialogue, ...]:
        """Those of every fiftieth scene, the first included."""
        return tuple(row for scene in scenes(self.rows)[::_VALIDATION_SCENES] for row in scene)


def scenes(rows: Sequence[Dialogue]) -> list[list[Dialogue]]:
    """The rows, neighbours of one scene together."""
    found: list[list[Dialogue]] = []
    for row in rows:
        if not found or row.scene is None or found[-1][-1].scene != row.scene:
            found.append([])
        found[-1].append(row)
    return found


class DialogueMaker:
    """A `Source` over dialogues."""

    def __init__(self, rows: Sequence[Dialogue], *, encode: Encode, seed: int) -> None:
        if not rows:
            raise UsageError("There are no dialogues to train on.", hint="Give a file with more lines.")
        self._scenes = scenes(rows)
        self._count = len(rows)
        self._encode = encode
        self._seed = seed
        self._order: tuple[int, list[Dialogue]] = (-1, [])

    def make(self, index: int) -> Example:
        """Example number `index`."""
        turn, place = divmod(index, self._count)
        if self._order[0] != turn:
            mixed = list(self._scenes)
            random.Random(f"{self._seed}/{turn}").shuffle(mixed)
            self._order = turn, [row for scene in mixed for row in scene]
        return to_example(self._order[1][place], self._encode)


def to_example(row: Dialogue, encode: Encode) -> Example:
    """The tokens of one dialogue."""
    prompt = encode(row.prompt)
    answer = encode((Segment(row.answer), Segment(row.end, special=True)))
    return Example((*prompt, *answer), len(prompt), row.kind, "")


def load_dialogues(path: Path) -> Dialogues:
    """Read a file. Raises `UsageError` for one that is not there, or has another form."""
    try:
        with path.open(encoding="utf-8") as lines:
            family = json.loads(next(lines))["family"]
            rows = tuple(_dialogue(json.loads(line)) for line in lines)
    except (OSError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} holds no dialogues to train on ({error!r}).", hint="See the module model.train.dialogues."
        ) from error
    return Dialogues(family, rows)


def _dialogue(row: dict[str, Any]) -> Dialogue:
    segments = tuple(Segment(text, special=special) for text, special in row["prompt"])
    return Dialogue(segments, row["answer"], row["end"], row["kind"], row.get("scene"))
