"""Puts positions to the completer and to plain stopping rules, over one engine and the same prompts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench.quality.positions import Position
from completion.api import CompletionRequest
from completion.context.workspace import Workspace
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import Chunk, Engine, GenerateRequest, ModelInfo
from model.errors import UsageError

TERSELY = "tersely"
NEWLINE = "stop at a newline"
BLANK_LINE = "stop at a blank line"
_STOPS = {NEWLINE: "\n", BLANK_LINE: "\n\n"}
MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Row:
    """What one contender said at one position. `signals`: tersely's, from which its confidence is computed."""

    position: int
    contender: str
    text: str
    generated_tokens: int
    needed_tokens: int
    stop_reason: str = ""
    signals: dict[str, float] = field(default_factory=dict)
    vetoes: tuple[str, ...] = ()
    without_veto: str | None = None
    """What was said with the veto off, where it struck."""


class _Recording:
    """Lets every answer go on to its end before it is passed on, and remembers the first: plain rules cut that one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.first: list[Chunk] | None = None

    async def info(self) -> ModelInfo:
        return await self._engine.info()

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return await self._engine.count_tokens(texts)

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        chunks = [chunk async for chunk in self._engine.generate(request)]
        if self.first is None:
            self.first = chunks
        for chunk in chunks:
            yield chunk

    async def aclose(self) -> None:
        """The engine is another's."""


async def ask_all(
    engine: Engine, positions: Sequence[Position], roots: Mapping[str, Path], *, first: int = 0
) -> AsyncIterator[list[Row]]:
    """Every contender at every position from the `first` on, a position at a time."""
    workspace = Workspace(time_limit_ms=None, first_wait_s=120.0)
    try:
        for number in range(first, len(positions)):
            position = positions[number]
            yield await _ask(engine, number, position, str(roots[position.package]), workspace)
    finally:
        await workspace.aclose()


async def _ask(engine: Engine, number: int, position: Position, root: str, workspace: Workspace) -> list[Row]:
    recording = _Recording(engine)
    settings = CompletionSettings(look_ahead=False, time_limit_ms=None, max_tokens=MAX_TOKENS)
    request = CompletionRequest(text=position.text, offset=position.offset, path=position.path, root=root)
    (needed,) = await engine.count_tokens((position.reference,))
    (said,) = await EngineCompleter(recording, settings, workspace).attempt(request)
    workspace.document_closed(root, position.path)
    without = None
    if said.explanation.vetoes:
        free = EngineCompleter(engine, replace(settings, veto=False), workspace)
        without = (await free.attempt(request))[0].text
        workspace.document_closed(root, position.path)
    rows = [
        Row(
            number,
            TERSELY,
            said.text,
            said.usage.completion_tokens,
            needed,
            said.stop_reason,
            dict(said.explanation.signals),
            said.explanation.vetoes,
            without,
        )
    ]
    for name, stop in _STOPS.items():  # where tersely does not ask at all, a plain client is let off too
        text, tokens = cut_at(recording.first or [], stop)
        rows.append(Row(number, name, text, tokens, needed))
    return rows


def cut_at(chunks: Sequence[Chunk], stop: str) -> tuple[str, int]:
    """What a client that stops at a string makes of a greedy answer, and the tokens generated until then."""
    text, tokens = "", 0
    for chunk in chunks:
        text += chunk.text
        if chunk.usage is not None:
            tokens = chunk.usage.completion_tokens
        if stop in text:
            return text.partition(stop)[0], tokens
    return text, tokens


class Answers:
    """Raw answers in a file of JSON lines, so that a run that was cut short goes on, with the same adapter."""

    def __init__(self, path: Path, *, adapter_sha256: str) -> None:
        """Raises `UsageError` for answers of another adapter."""
        self._path = path
        if not path.exists():
            path.write_text(json.dumps({"adapter_sha256": adapter_sha256}) + "\n", encoding="utf-8")
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(header)["adapter_sha256"] != adapter_sha256:
            raise UsageError(f"{path} has answers of another adapter.", hint="Name another file.")
        self.rows = [Row(**{**row, "vetoes": tuple(row["vetoes"])}) for row in map(json.loads, lines)]

    @property
    def next(self) -> int:
        """The first position that was not asked yet."""
        return max((row.position + 1 for row in self.rows), default=0)

    def add(self, rows: Sequence[Row]) -> None:
        """Keep the answers of one position."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
        self.rows += rows
