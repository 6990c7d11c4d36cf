"""Typing at one place costs the engine what was typed, and little more, in every family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from completion.api import CompletionRequest
from completion.burst import LONGEST_BURST_CHARACTERS, Bursts, Layout
from completion.prompt import build_prompt, continued, render_prompt
from completion.service import EngineCompleter
from completion.settings import CompletionSettings, PromptBudget
from model import fim
from model.api import ModelInfo, Segment
from model.checkpoint.gguf import GgufFile
from model.fake import FakeEngine
from model.hub import DEFAULT_MODEL
from model.local import LocalEngine
from model.prefix_cache import common_prefix
from model.tokenizer import Tokenizer, read_tokenizer
from model.train.start import shipped_adapter
from tests.cursor import at_cursor

FAMILIES = (*fim.FORMATS, fim.NONE)
BUDGET = PromptBudget(prefix_characters=600, suffix_characters=200)
BEFORE = "".join(f"value_{number} = compute({number}, scale=2)\n" for number in range(60))
BEHIND = "\n" + "".join(f"print(value_{number}, end='')\n" for number in range(30))
TYPED = "result = sum(value_7, value_8) + compute(9, scale=3"
ALLOWED_EXTRA_TOKENS = 64
assert len(TYPED) >= 50


def keys() -> Iterator[CompletionRequest]:
    """Fifty keys, as an editor sends them that closes brackets by itself."""
    yield CompletionRequest(text=BEFORE + BEHIND, offset=len(BEFORE), path="a.py")
    for count in range(1, len(TYPED) + 1):
        typed = TYPED[:count]
        closers = ")" * (typed.count("(") - typed.count(")"))
        yield CompletionRequest(text=BEFORE + typed + closers + BEHIND, offset=len(BEFORE) + count, path="a.py")


def layouts() -> Iterator[tuple[CompletionRequest, Layout]]:
    bursts = Bursts()
    for request in keys():
        layout = bursts.lay_out(path=request.path, text=request.text, offset=request.offset, budget=BUDGET)
        yield request, layout


@pytest.mark.parametrize("family", FAMILIES)
async def test_typing_reads_what_was_typed_fake_engine(family: str) -> None:
    engine = FakeEngine("", info=ModelInfo(name="m", architecture="a", fim_family=family, context_tokens=4096))
    completer = EngineCompleter(engine, CompletionSettings(budget=BUDGET, look_ahead=False))
    read = []
    for request in keys():
        usage = (await completer.attempt(request))[0].usage
        read.append(usage.prompt_tokens - usage.cached_tokens)
    assert read[0] > 100
    assert sum(read[1:]) <= len(TYPED) + ALLOWED_EXTRA_TOKENS


@pytest.mark.model
@pytest.mark.parametrize("family", FAMILIES)
def test_typing_reads_what_was_typed_real_tokens(family: str, embedded_model: Path) -> None:
    with GgufFile(embedded_model) as file:
        tokenizer = read_tokenizer(file)
    before: list[int] = []
    read = []
    for request, layout in layouts():
        ids = ids_of(render_prompt(layout, text=request.text, path="a.py", family=family).segments, tokenizer)
        read.append(len(ids) - min(common_prefix(before, ids), len(ids) - 1))
        before = ids
    assert read[0] > 100
    assert sum(read[1:]) <= len(TYPED) + ALLOWED_EXTRA_TOKENS


@pytest.mark.model
@pytest.mark.slow
async def test_typing_reads_what_was_typed_real_engine(embedded_model: Path) -> None:
    engine = LocalEngine.load(embedded_model, adapter=shipped_adapter(DEFAULT_MODEL), threads=1)
    try:
        completer = EngineCompleter(
            engine, CompletionSettings(budget=BUDGET, look_ahead=False, max_tokens=1, time_limit_ms=None)
        )
        read = []
        for request in keys():
            usage = (await completer.attempt(request))[0].usage
            read.append(usage.prompt_tokens - usage.cached_tokens)
        assert read[0] > 100
        assert sum(read[1:]) <= len(TYPED) + ALLOWED_EXTRA_TOKENS
    finally:
        await engine.aclose()


def ids_of(segments: tuple[Segment, ...], tokenizer: Tokenizer) -> list[int]:
    """Each segment's tokens by themselves; control tokens get numbers below zero, as no vocabulary has them all."""
    ids: list[int] = []
    for segment in segments:
        ids += [-1 - sum(map(ord, segment.text))] if segment.special else tokenizer.encode(segment.text)
    return ids


def test_the_burst_ends_where_the_text_was_changed_elsewhere() -> None:
    bursts = Bursts()
    for request in list(keys())[:3]:
        layout = bursts.lay_out(path="a.py", text=request.text, offset=request.offset, budget=BUDGET)
    assert not layout.begins
    text = "import os\n" + request.text
    assert bursts.lay_out(path="a.py", text=text, offset=request.offset + 10, budget=BUDGET).begins
    assert bursts.lay_out(path="b.py", text=text, offset=request.offset + 10, budget=BUDGET).begins


def test_a_burst_does_not_go_on_for_ever() -> None:
    bursts = Bursts()
    bursts.lay_out(path="a.py", text="", offset=0, budget=BUDGET)
    text = "x" * (LONGEST_BURST_CHARACTERS + 1)
    assert not bursts.lay_out(path="a.py", text=text[:-1], offset=len(text) - 1, budget=BUDGET).begins
    assert bursts.lay_out(path="a.py", text=text, offset=len(text), budget=BUDGET).begins


def test_a_supposed_cursor_leaves_no_trace() -> None:
    bursts = Bursts()
    request = next(keys())
    bursts.lay_out(path="a.py", text=request.text, offset=request.offset, budget=BUDGET)
    bursts.lay_out(path="a.py", text="else", offset=4, budget=BUDGET, remember=False)
    assert not bursts.lay_out(path="a.py", text=request.text, offset=request.offset, budget=BUDGET).begins


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [1, 7, 50])
def test_no_budget_cuts_a_control_token(family: str, size: int) -> None:
    budget = PromptBudget(prefix_characters=size, suffix_characters=size)
    row = fim.FORMATS.get(family)
    text, offset = BEFORE + "<|fim_middle|>[SUFFIX]<issue_start>" + BEHIND, len(BEFORE) + 20
    segments = build_prompt(text=text, offset=offset, path="a.py", family=family, budget=budget).segments
    special = [segment.text for segment in segments if segment.special]
    assert sorted(special) == sorted(row.tokens if row is not None else ())


@pytest.mark.parametrize(
    ("family", "prompt"),
    [
        ("mistral", "[SUFFIX]c\n[PREFIX]a\nb = "),
        ("qwen", "<|fim_prefix|>a\n<|fim_suffix|>c\n<|fim_middle|>b ="),
        ("seed", "<[fim-suffix]>c\n<[fim-prefix]>a\n<[fim-middle]>b ="),
        ("none", "a\nb ="),
    ],
)
def test_the_line_begins_the_middle_where_a_token_asks_for_it(family: str, prompt: str) -> None:
    text, offset = at_cursor("a\nb = ‸c\n")
    built = build_prompt(text=text, offset=offset, path="", family=family, budget=BUDGET)
    assert built.text == prompt
    assert built.lead == ("" if family == "mistral" else " ")


@pytest.mark.parametrize(
    ("before", "prompt", "lead"),
    [
        ("return ‸", "return", " "),
        ("x  =  ‸", "x  =", "  "),
        ("    ‸", "   ", " "),
        ("a\n    ‸", "a\n   ", " "),
        ("a\n ‸", "a\n", " "),
        ("a\n‸", "a\n", ""),
        ("\t  ‸", "\t ", " "),
        ("\tx\t‸", "\tx\t", ""),
        ("f(‸", "f(", ""),
        ("‸", "", ""),
    ],
)
def test_blanks_behind_a_word_are_left_to_the_model(before: str, prompt: str, lead: str) -> None:
    text, offset = at_cursor(before)
    built = build_prompt(text=text, offset=offset, path="", family="none", budget=BUDGET)
    assert (built.text, built.lead) == (prompt, lead)


def test_continuing_a_prompt() -> None:
    text = (Segment("<a>", special=True), Segment("x = "))
    assert continued(text, "y") == (text[0], Segment("x = y"))
    assert continued(text[:1], "y") == (text[0], Segment("y"))
    assert continued(text, "") == text


async def test_a_small_context_gets_a_small_prompt() -> None:
    engine = FakeEngine("1", info=ModelInfo(name="m", architecture="a", fim_family="mistral", context_tokens=200))
    request = replace(next(keys()), path="a.py")
    (suggestion,) = await EngineCompleter(engine).attempt(request)
    assert suggestion.usage.prompt_tokens + 64 <= 200
