"""The embedded model with its adapter for tools turns plain wishes into calls, and with a senseless one it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.quality.tools import scrambled
from completion.refactor.allowed import Barred
from completion.refactor.asking import AskingTuned
from completion.refactor.calls import AddDocstring, AnyCall, Decline, Inline, Move, OrganizeImports, Rename
from completion.refactor.grammar import answer_grammar
from completion.refactor.planner import ModelPlanner
from completion.refactor.symbols import outline
from completion.refactor.wish import View, Wish
from model.local import LocalEngine
from model.registry import MODELS, TOOLS_MODEL
from model.train.adapter import load_adapter

pytestmark = [pytest.mark.model, pytest.mark.slow]

PATH = "src/parser.py"
CODE = """import os


class Parser:
    def feed(self, data, limit):
        size = len(data)
        return size * limit


def tokenize(text):
    return text.split()


def load(path):
    return tokenize(path)
"""
VIEW = View(path=PATH, language="python", outline=outline(CODE, PATH))
WISHES: list[tuple[str, AnyCall]] = [
    ("rename tokenize to split_words", Rename(symbol="tokenize", new_name="split_words")),
    ("rename Parser.feed to consume", Rename(symbol="Parser.feed", new_name="consume")),
    ("rename load -> read_all", Rename(symbol="load", new_name="read_all")),
    ("inline tokenize", Inline(symbol="tokenize")),
    ("sort the imports of this file", OrganizeImports(path=PATH)),
    ("add a docstring to load", AddDocstring(symbol="load")),
    ("move tokenize to src/text.py", Move(source="tokenize", to_path="src/text.py")),
]


@asynccontextmanager
async def engine_with(adapter: Path, base: Path) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine.load(base, adapter=adapter, threads=1)
    try:
        yield engine
    finally:
        await engine.aclose()


async def calls_for(engine: LocalEngine, wish: Wish) -> tuple[AnyCall, ...]:
    return (await ModelPlanner(AskingTuned(engine)).plan(wish, lambda _: "There is no symbol of that name.")).calls


def shipped() -> Path:
    path = MODELS[TOOLS_MODEL].adapter_path
    assert path is not None
    return path


async def test_plain_wishes_become_calls(embedded_model: Path) -> None:
    async with engine_with(shipped(), embedded_model) as engine:
        for words, call in WISHES:
            assert await calls_for(engine, Wish(instruction=words, view=VIEW)) == (call,), words
        (declined,) = await calls_for(engine, Wish(instruction="tell me a joke", view=VIEW))
        assert isinstance(declined, Decline)


async def test_a_name_that_is_taken_is_still_declined(embedded_model: Path) -> None:
    async with engine_with(shipped(), embedded_model) as engine:
        (declined,) = await calls_for(engine, Wish(instruction="rename load to tokenize", view=VIEW))
        assert isinstance(declined, Decline)


def test_who_may_not_decline_must_look_or_act() -> None:
    wish = Wish(instruction="rename load to read_all", view=VIEW)
    assert "decline" in answer_grammar(wish)
    assert "decline" not in answer_grammar(wish, barred=[Barred(Decline)]).partition("\n")[0]


async def test_with_a_scrambled_adapter_the_wishes_fail(embedded_model: Path, tmp_path: Path) -> None:
    scrambled(load_adapter(shipped())).save(tmp_path / "scrambled.safetensors")
    async with engine_with(tmp_path / "scrambled.safetensors", embedded_model) as engine:
        for words, call in WISHES:
            assert await calls_for(engine, Wish(instruction=words, view=VIEW)) != (call,), words
