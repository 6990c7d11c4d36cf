"""Puts tasks to an engine, greedily, in the layout of its family, and keeps what it said."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.quality.journal import Journal
from bench.quality.tasks import Task
from model.api import Engine, FinishReason, GenerateRequest, Prompt, SamplingParams
from model.fim import NONE, render

_AT_ONCE = 4
MAX_TOKENS = {"humaneval": 64, "line": 64, "empty": 24, "block": 160}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said to one task. `text` is what an editor would insert: for single lines, the first line."""

    task: Task
    text: str
    whole: str
    """All that was generated until the model ended by itself, or the limit."""
    tokens: int
    ended: bool
    """Whether the model ended by itself."""
    confidence: float
    """Geometric mean of the generated tokens' probabilities: what completion shows as confidence."""
    joint: float
    """Their product."""


async def ask_all(engine: Engine, tasks: Sequence[Task], *, context: bool, journal: Journal) -> list[Answer]:
    """Every task once, those in the journal not again. `context`: with the snippets that retrieval found."""
    family = (await engine.info()).fim_family
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(task: Task) -> Answer:
        key = f"{'with' if context else 'without'} context: {task.kind} {task.name}"
        async with free:
            said = journal.said(key)
            if said is None:
                said = await _ask(engine, task, family=family, context=context)
                journal.keep(key, said)
            return Answer(task=task, **said)

    return await asyncio.gather(*(one(task) for task in tasks))


async def _ask(engine: Engine, task: Task, *, family: str, context: bool) -> dict[str, Any]:
    """The fields of an `Answer` beside its task."""
    snippets = task.snippets if context else ()
    prompt: Prompt = render(family, prefix=task.prefix, suffix=task.suffix, path=task.path, snippets=snippets)
    single = task.kind in ("humaneval", "line")
    # A model without a format rambles on; an editor would end it at the line's end. So does a benchmark by its rule.
    stop = ("\n",) if task.kind == "humaneval" or (single and family == NONE) else ()
    sampling = SamplingParams(max_tokens=MAX_TOKENS[task.kind], stop=stop, logprobs=0)
    whole, logprobs, ended, tokens = "", [], False, 0
    async for chunk in engine.generate(GenerateRequest(prompt=prompt, sampling=sampling)):
        if not (single and "\n" in whole):  # confidence is in what is shown: of a line, up to its end
            logprobs += [token.logprob for token in chunk.logprobs]
        whole += chunk.text
        if chunk.finish_reason is not None:
            ended = chunk.finish_reason is FinishReason.STOP
            assert chunk.usage is not None
            tokens = chunk.usage.completion_tokens
    return {
        "text": whole.split("\n", 1)[0] if single else whole,
        "whole": whole,
        "tokens": tokens,
        "ended": ended,
        "confidence": math.exp(sum(logprobs) / len(logprobs)) if logprobs else 0.0,
        "joint": math.exp(sum(logprobs)),
    }
