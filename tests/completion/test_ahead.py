"""Looking ahead: the state after acceptance is there when it is asked for, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from completion.ahead import LookAhead
from completion.api import CompletionRequest
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import ModelInfo, Priority
from model.errors import EngineUnavailableError
from model.fake import FakeEngine

# A family whose models were taught to go on from a blank.
INFO = ModelInfo(name="fake", architecture="fake", fim_family="mistral", context_tokens=4096)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for 5 s at most."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)


def answers(prompt: str) -> str:
    return "b\n" if prompt.endswith("a + ") else "a + "


async def test_accepting_shows_the_next_without_the_engine() -> None:
    engine = FakeEngine(answers, logprob=-0.001, info=INFO)
    completer = EngineCompleter(engine)
    request = CompletionRequest(text="x = ", offset=4, path="a.py")
    (first,) = await completer.complete(request)
    accepted = replace(request, text=request.text + first.text, offset=4 + len(first.text))
    await until(lambda: len(engine.requests) == 2)
    assert engine.requests[1].priority is Priority.BATCH
    await completer.complete(accepted)
    assert len(engine.requests) == 2
    await completer.aclose()


async def test_it_yields_to_a_real_request() -> None:
    engine = FakeEngine("a b c d e f g h", logprob=-0.001, token_delay_s=0.05, info=INFO)
    completer = EngineCompleter(engine)
    await completer.complete(CompletionRequest(text="x = ", offset=4, path="a.py"))
    await until(lambda: len(engine.requests) == 2)
    await completer.complete(CompletionRequest(text="y = ", offset=4, path="a.py"))
    assert engine.cancelled == 1
    await completer.aclose()


async def test_it_can_be_turned_off() -> None:
    engine = FakeEngine("a", logprob=-0.001, info=INFO)
    completer = EngineCompleter(engine, CompletionSettings(look_ahead=False))
    await completer.complete(CompletionRequest(text="x = ", offset=4, path="a.py"))
    await asyncio.sleep(0.3)
    assert len(engine.requests) == 1


@pytest.mark.parametrize("error", [EngineUnavailableError("gone", hint=""), ZeroDivisionError()])
async def test_its_failures_stay_its_own(error: Exception) -> None:
    tried = asyncio.Event()

    async def fail(_: CompletionRequest) -> None:
        tried.set()
        raise error

    engine = FakeEngine("a", logprob=-0.001, info=INFO)
    request = CompletionRequest(text="x = ", offset=4, path="a.py")
    (suggestion,) = await EngineCompleter(engine, CompletionSettings(look_ahead=False)).complete(request)
    ahead = LookAhead(fail, pause_s=0.0)
    ahead.start(request, suggestion)
    await tried.wait()
    await ahead.give_way(request)
