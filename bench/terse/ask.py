"""Puts positions to the completer and to plain stopping rules, over one engine and the same prompts, and to a peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.quality.positions import Position
from bench.terse.infill import LlamaServer, lay_out
from completion.api import CompletionRequest
from completion.context.workspace import Workspace
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import Chunk, Engine, GenerateRequest, ModelInfo, Prompt
from model.errors import UsageError
from model.tokenizer import Tokenizer

TERSELY = "tersely"
NEWLINE = "stop at a newline"
BLANK_LINE = "stop at a blank line"
INFILL = "llama.cpp /infill"
ALONE = "tersely, the file alone"
"""Without an index of the workspace: asked beside llama.cpp, which sees no other files either."""
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
        self.prompt: Prompt | None = None

    async def info(self) -> ModelInfo:
        return await self._engine.info()

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return await self._engine.count_tokens(texts)

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        chunks = [chunk async for chunk in self._engine.generate(request)]
        if self.first is None:
            self.first, self.prompt = chunks, request.prompt
            if request.sampling.grammar is not None:  # plain clients know none
                plain = replace(request, sampling=replace(request.sampling, grammar=None))
                self.first = [chunk async for chunk in self._engine.generate(plain)]
        for chunk in chunks:
            yield chunk

    async def aclose(self) -> None:
        """The engine is another's."""


@dataclass(frozen=True, slots=True)
class Peer:
    """llama.cpp's server, and the tokenizer and the prompt format that its model shares with ours."""

    server: LlamaServer
    tokenizer: Tokenizer
    family: str

    async def ask(self, number: int, prompt: Prompt | None, *, needed_tokens: int) -> Row:
        """What it says at a position; nothing where tersely does not ask at all."""
        if prompt is None:
            return Row(number, INFILL, "", 0, needed_tokens)
        said = await self.server.complete(lay_out(prompt, self.tokenizer, family=self.family), max_tokens=MAX_TOKENS)
        return Row(number, INFILL, said.text, said.tokens, needed_tokens, said.stop_reason)


async def ask_all(
    engine: Engine,
    positions: Sequence[Position],
    roots: Mapping[str, Path],
    *,
    first: int = 0,
    peer: Peer | None = None,
) -> AsyncIterator[list[Row]]:
    """Every contender at every position from the `first` on, a position at a time.

    The peer, a process of its own, answers while the next position is already asked here.
    """
    workspace = Workspace(time_limit_ms=None, first_wait_s=120.0)
    waiting: tuple[list[Row], asyncio.Task[Row]] | None = None
    try:
        for number in range(first, len(positions)):
            position = positions[number]
            rows = await _ask(engine, number, position, str(roots[position.package]), workspace)
            if peer is None:
                yield rows
                continue
            alone, prompt = await _ask_alone(engine, number, position, rows[0].needed_tokens)
            rows.append(alone)
            asked = asyncio.create_task(peer.ask(number, prompt, needed_tokens=rows[0].needed_tokens))
            if waiting is not None:
                yield [*waiting[0], await waiting[1]]
            waiting = rows, asked
        if waiting is not None:
            yield [*waiting[0], await waiting[1]]
    finally:
        await workspace.aclose()


async def _ask_alone(engine: Engine, number: int, position: Position, needed_tokens: int) -> tuple[Row, Prompt | None]:
    """What tersely says without knowing other files, and the prompt for it."""
    recording = _Recording(engine)
    settings = CompletionSettings(look_ahead=False, time_limit_ms=None, max_tokens=MAX_TOKENS, context=False)
    request = CompletionRequest(text=position.text, offset=position.offset, path=position.path)
    (said,) = await EngineCompleter(recording, settings).attempt(request)
    signals = dict(said.explanation.signals)
    tokens = said.usage.completion_tokens
    return Row(number, ALONE, said.text, tokens, needed_tokens, said.stop_reason, signals), recording.prompt


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
    """Raw answers in a file of JSON lines, so that a run that was cut short goes on, with the same contenders."""

    def __init__(self, path: Path, *, adapter_sha256: str) -> None:
        """What is there already. Raises `UsageError` for answers of another adapter."""
        self._path = path
        self._adapter_sha256 = adapter_sha256
        self.rows: list[Row] = []
        self.peer: dict[str, Any] | None = None
        """What llama.cpp said of itself, where it was asked too."""
        if path.exists():
            header, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            if header["adapter_sha256"] != adapter_sha256:
                raise UsageError(f"{path} has answers of another adapter.", hint="Name another file.")
            self.peer = header["llama.cpp"]
            self.rows = [Row(**{**row, "vetoes": tuple(row["vetoes"])}) for row in lines]

    def begin(self, peer: dict[str, Any] | None) -> None:
        """To be called before `add`. Raises `UsageError` where answers have a peer and others would have none."""
        if self._path.exists():
            if (peer is None) != (self.peer is None):
                raise UsageError(
                    f"{self._path} was begun {'without' if self.peer is None else 'with'} llama.cpp.",
                    hint="Name another file, or go on as it was begun.",
                )
            return
        self.peer = peer
        header = {"adapter_sha256": self._adapter_sha256, "llama.cpp": peer}
        self._path.write_text(json.dumps(header) + "\n", encoding="utf-8")

    @property
    def next(self) -> int:
        """The first position that was not asked yet."""
        return max((row.position + 1 for row in self.rows), default=0)

    def add(self, rows: Sequence[Row]) -> None:
        """Keep the answers of one position."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
        self.rows += rows
