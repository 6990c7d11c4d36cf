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
from model.api import Chunk, Engine, GenerateRequest, ModelInfo, SamplingParams

TERSELY = "tersely"
NEWLINE = "stop at a newline"
BLANK_LINE = "stop at a blank line"
_STOPS = {NEWLINE: ("\n",), BLANK_LINE: ("\n\n",)}
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


class _Listening:
    """Passes everything on, and remembers the first prompt."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.request: GenerateRequest | None = None

    async def info(self) -> ModelInfo:
        return await self._engine.info()

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return await self._engine.count_tokens(texts)

    def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        self.request = self.request or request
        return self._engine.generate(request)

    async def aclose(self) -> None:
        """The engine is another's."""


async def ask_all(engine: Engine, positions: Sequence[Position], roots: Mapping[str, Path]) -> list[Row]:
    """Every contender at every position."""
    rows: list[Row] = []
    workspace = Workspace(time_limit_ms=None, first_wait_s=120.0)
    workspace.set_roots([])
    try:
        for number, position in enumerate(positions):
            rows += await _ask(engine, number, position, str(roots[position.package]), workspace)
    finally:
        await workspace.aclose()
    return rows


async def _ask(engine: Engine, number: int, position: Position, root: str, workspace: Workspace) -> list[Row]:
    listening = _Listening(engine)
    settings = CompletionSettings(look_ahead=False, time_limit_ms=None, max_tokens=MAX_TOKENS)
    request = CompletionRequest(text=position.text, offset=position.offset, path=position.path, root=root)
    (needed,) = await engine.count_tokens((position.reference,))
    (said,) = await EngineCompleter(listening, settings, workspace).attempt(request)
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
    for name, stop in _STOPS.items():
        if listening.request is None:  # tersely did not ask at all; a plain client would have
            rows.append(Row(number, name, "", 0, needed))
            continue
        text, tokens = await _plain(engine, replace(listening.request, sampling=_sampling(stop)))
        rows.append(Row(number, name, text, tokens, needed))
    return rows


def _sampling(stop: tuple[str, ...]) -> SamplingParams:
    return SamplingParams(max_tokens=MAX_TOKENS, stop=stop)


async def _plain(engine: Engine, request: GenerateRequest) -> tuple[str, int]:
    text, tokens = "", 0
    async for chunk in engine.generate(request):
        text += chunk.text
        if chunk.usage is not None:
            tokens = chunk.usage.completion_tokens
    return text, tokens


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Keep raw answers, as JSON lines."""
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """What `write_rows` wrote."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(**{**row, "vetoes": tuple(row["vetoes"])}) for row in found]
