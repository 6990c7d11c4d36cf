"""The completer over a scripted engine: a source with a cursor in, suggestions out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest

from completion.api import CompletionRequest, Level, SelectedItem, Trigger
from completion.context.workspace import Workspace
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import Chunk, GenerateRequest, ModelInfo, TokenLogprob
from model.errors import UsageError
from model.fake import FakeEngine, prompt_text
from tests.cursor import at_cursor


def request_at(source: str, **changes: object) -> CompletionRequest:
    text, offset = at_cursor(source)
    return replace(CompletionRequest(text=text, offset=offset, path="a.py"), **changes)  # type: ignore[arg-type]


async def check(source: str, generated: str, shown: str | None) -> None:
    suggestions = await EngineCompleter(FakeEngine(generated)).complete(request_at(source))
    assert [one.text for one in suggestions] == ([] if shown is None else [shown])


@pytest.mark.parametrize(
    ("source", "generated", "shown"),
    [
        ("x = ‸\n", "1 + 2\ny = 3\n", "1 + 2"),
        ("print(‸)\n", "x)\n", "x"),
        ("x = 1‸\n", "\nmore", None),
        ("def f():\r\n    ‸\r\n", "a = 1\n    return a\nend", "a = 1\r\n    return a"),
        ("na‸me = 1\n", "xyz", None),
        ("‸", "import os\n", "import os"),
        ("x = ‸\n", "amount.total + " * 9, "amount.total"),
        ("for name in os.listdir(‸\n", "path.dirname(path.abspath(" * 9, None),
    ],
)
async def test_complete(source: str, generated: str, shown: str | None) -> None:
    await check(source, generated, shown)


async def test_stopping_closes_the_stream() -> None:
    engine = FakeEngine("a = 1\nb = 2\nc = 3\n")
    (suggestion,) = await EngineCompleter(engine).complete(request_at("‸"))
    assert suggestion.text == "a = 1"
    assert engine.cancelled == 1
    assert suggestion.usage.completion_tokens < 8


async def test_typing_along_a_suggestion_does_not_ask_the_engine() -> None:
    engine = FakeEngine("return value\n")
    completer = EngineCompleter(engine)
    await completer.complete(request_at("x = 1\n‸\ny = 2\n"))
    for typed in ("r", "re", "return v", "re"):
        (suggestion,) = await completer.complete(request_at(f"x = 1\n{typed}‸\ny = 2\n"))
        assert typed + suggestion.text == "return value"
        assert suggestion.usage.completion_tokens == 0
    assert len(engine.requests) == 1


@pytest.mark.parametrize("source", ["x = 1\nq‸\ny = 2\n", "x = 2\nr‸\ny = 2\n", "x = 1\nr‸\ny = 3\n"])
async def test_typing_something_else_asks_again(source: str) -> None:
    engine = FakeEngine("return value\n")
    completer = EngineCompleter(engine)
    await completer.complete(request_at("x = 1\n‸\ny = 2\n"))
    await completer.complete(request_at(source))
    assert len(engine.requests) == 2


async def test_a_closed_document_is_forgotten() -> None:
    engine = FakeEngine("return value\n")
    completer = EngineCompleter(engine)
    await completer.complete(request_at("‸"))
    completer.document_closed("a.py")
    await completer.complete(request_at("r‸"))
    assert len(engine.requests) == 2


async def test_the_selected_menu_item_is_extended() -> None:
    text, offset = at_cursor("os.pa‸\n")
    request = CompletionRequest(text=text, offset=offset, path="a.py", selected=SelectedItem(3, 5, "path"))
    engine = FakeEngine(lambda prompt: ".join(a)" if prompt.endswith("os.path") else "wrong")
    (suggestion,) = await EngineCompleter(engine).complete(request)
    assert (suggestion.text, suggestion.start, suggestion.end) == ("path.join(a)", 3, 5)


async def test_invoked_offers_distinct_alternatives() -> None:
    answers = iter([" one", " two", " one"])
    completer = EngineCompleter(FakeEngine(lambda _: next(answers)))
    suggestions = await completer.complete(request_at("x = ‸", trigger=Trigger.INVOKED))
    assert [one.text for one in suggestions] == ["one", "two"]


@pytest.mark.parametrize(
    ("before", "said", "shown", "prompts"),
    [
        ("x = ‸", " one", "one", ["x ="]),
        ("x =  ‸", "  one", "one", ["x ="]),
        ("x = ‸", "  # one", " # one", ["x ="]),
        ("x = ‸", "one", "one", ["x =", "x = "]),
        ("return ‸", "ed", "ed", ["return", "return "]),
        ("return ‸", "\nx = 1", "", ["return"]),
        ("return ‸", "", "", ["return"]),
        ("x =‸", " one", " one", ["x ="]),
    ],
)
async def test_a_blank_before_the_cursor_is_the_models_to_say(
    before: str, said: str, shown: str, prompts: list[str]
) -> None:
    engine = FakeEngine(said, logprob=-0.001)
    (suggestion,) = await EngineCompleter(engine, CompletionSettings(look_ahead=False)).attempt(request_at(before))
    assert suggestion.text == shown
    assert [prompt_text(one.prompt) for one in engine.requests] == prompts


async def test_the_confidence_counts_tokens_once_where_a_blank_is_said() -> None:
    settings = CompletionSettings(look_ahead=False)
    (led,) = await EngineCompleter(FakeEngine(" one two", logprob=-0.2), settings).attempt(request_at("x = ‸"))
    (plain,) = await EngineCompleter(FakeEngine("one two", logprob=-0.2), settings).attempt(request_at("x = (‸"))
    assert led.explanation.signals["joint"] == pytest.approx(plain.explanation.signals["joint"])
    assert led.explanation.signals["characters"] == plain.explanation.signals["characters"]


@pytest.mark.parametrize(
    ("level", "logprob", "shown"),
    [(Level.QUIET, -2.0, 0), (Level.QUIET, -0.001, 1), (Level.BALANCED, -9.0, 0), (Level.BALANCED, -0.2, 1)],
)
async def test_the_dial_hides_what_is_unsure(level: Level, logprob: float, shown: int) -> None:
    completer = EngineCompleter(FakeEngine("value", logprob=logprob), CompletionSettings(level=level))
    assert len(await completer.complete(request_at("x = ‸"))) == shown


async def test_cancelling_reaches_the_engine() -> None:
    engine = FakeEngine("a b c d e f", token_delay_s=0.05)
    task = asyncio.create_task(EngineCompleter(engine).complete(request_at("‸")))
    await asyncio.sleep(0.08)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == 1


async def test_an_offset_outside_the_text_is_refused() -> None:
    with pytest.raises(UsageError, match="outside"):
        await EngineCompleter(FakeEngine("")).complete(CompletionRequest(text="ab", offset=3))


async def test_the_prompt_is_in_the_family_the_model_was_trained_on() -> None:
    info = ModelInfo(name="m", architecture="a", fim_family="mistral")
    engine = FakeEngine("1", info=info)
    (suggestion,) = await EngineCompleter(engine).complete(request_at("x = ‸\ny = 2\n"))
    assert suggestion.explanation.prompt == "[SUFFIX]\ny = 2\n[PREFIX]x = "
    assert [use.source for use in suggestion.explanation.context] == ["prefix", "suffix"]


@pytest.mark.parametrize(
    ("family", "shown"),
    [
        ("tersely", "<file_sep>money.py\n{code}\n<issue_comment>"),
        ("mistral", "[SUFFIX]\n[PREFIX]+++++ money.py\n{code}\n+++++ main.py\nfrom money"),
        ("deepseek", "<｜fim▁begin｜>#money.py\n{code}\n#main.py\nfrom money"),
        ("granite", "<filename>money.py\n{code}\n<fim_prefix>from money"),
    ],
)
async def test_context_comes_first_in_the_prompt_and_is_accounted_for(family: str, shown: str, tmp_path: Path) -> None:
    (tmp_path / "money.py").write_text("def parse_money(text):\n    return text\n")
    info = ModelInfo(name="m", architecture="a", fim_family=family)
    completer = EngineCompleter(
        FakeEngine("parse_money(1)", info=info), context=Workspace(time_limit_ms=None, first_wait_s=60)
    )
    request = request_at("from money import parse_money\n\nx = ‸\n", root=str(tmp_path), path="main.py")
    (suggestion,) = await completer.attempt(request)
    await completer.aclose()
    assert suggestion.explanation.prompt.startswith(shown.format(code="def parse_money(text):\n    return text"))
    assert [use.source for use in suggestion.explanation.context] == ["import", "prefix", "suffix"]
    assert suggestion.timings.context_ms > 0


async def test_a_model_that_cannot_read_snippets_starts_no_index(tmp_path: Path) -> None:
    context = Workspace(time_limit_ms=None, first_wait_s=60)
    completer = EngineCompleter(FakeEngine("1"), context=context)
    await completer.attempt(request_at("x = ‸\n", root=str(tmp_path)))
    assert not context.started
    await completer.aclose()


async def test_a_defect_in_context_costs_the_context_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    context = Workspace(time_limit_ms=None, first_wait_s=60)
    monkeypatch.setattr(context, "snippets", fail)
    info = ModelInfo(name="m", architecture="a", fim_family="tersely")
    completer = EngineCompleter(FakeEngine("1", info=info), context=context)
    (suggestion,) = await completer.complete(request_at("x = ‸\n", root=str(tmp_path)))
    assert suggestion.text == "1"
    await completer.aclose()


async def test_a_completion_with_the_shape_of_a_secret_is_dropped() -> None:
    key = "AKIA" + "Z7Q2M4N6P8R0T1V3"
    (suggestion,) = await EngineCompleter(FakeEngine(f'"{key}"')).attempt(request_at("key = ‸\n"))
    assert suggestion.text == ""
    assert any("secret" in note for note in suggestion.explanation.filters)


async def test_the_level_can_change_while_running() -> None:
    completer = EngineCompleter(FakeEngine("a = 1\n    b = 2\n", logprob=-0.001))
    completer.set_level(Level.QUIET)
    (suggestion,) = await completer.complete(request_at("def f():\n    ‸"))
    assert suggestion.text == "a = 1"


class _ManyTokensAChunk(FakeEngine):
    """Sends `size` tokens a chunk, as an engine that checks drafts does; the n-th token has log-probability −n / 10."""

    def __init__(self, script: str, *, size: int) -> None:
        super().__init__(script)
        self._size = size

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        held: list[Chunk] = []
        count = 0
        async for chunk in super().generate(request):
            count += bool(chunk.text)
            held.append(replace(chunk, logprobs=(TokenLogprob(0, chunk.text, -count / 10),) if chunk.text else ()))
            if len(held) == self._size or chunk.finish_reason is not None:
                text = "".join(part.text for part in held)
                yield replace(chunk, text=text, logprobs=tuple(token for part in held for token in part.logprobs))
                held = []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
async def test_confidence_counts_the_tokens_of_what_is_kept_however_they_come(size: int) -> None:
    engine = _ManyTokensAChunk("a = b(1)\nc = 2\nd = 3\n", size=size)
    (suggestion,) = await EngineCompleter(engine).attempt(request_at("‸"))
    assert suggestion.text == "a = b(1)"
    # a, =, b, (, 1, ) are the six first tokens; what comes behind them in the same chunk does not count.
    assert suggestion.explanation.signals["joint"] == pytest.approx(-sum(range(1, 7)) / 10)
    assert suggestion.explanation.signals["probability"] == pytest.approx(exp(-sum(range(1, 7)) / 10))


class _UnsureOfTheFirstToken(FakeEngine):
    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        first = True
        async for chunk in super().generate(request):
            tokens = tuple(replace(token, logprob=-6.0 if first else -0.001) for token in chunk.logprobs)
            first = first and not tokens
            yield replace(chunk, logprobs=tokens)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_what_was_too_unsure_is_shown_once_its_doubtful_part_is_typed(line_end: str) -> None:
    engine = _UnsureOfTheFirstToken("compute(\n    total,\n)\nx = 2\n")
    completer = EngineCompleter(engine)
    shown = []
    for typed in ("", "comp", "compute", "compute(" + line_end, "com"):
        texts = await completer.complete(request_at(f"compute{line_end}{typed}‸{line_end}"))
        shown.append([one.text.replace(line_end, "|") for one in texts])
    assert shown == [[], [], ["(|    total,|)"], ["    total,|)"], []]
    assert len(engine.requests) == 1
    await completer.aclose()


async def test_the_last_attempt_is_remembered_even_when_it_was_not_shown() -> None:
    completer = EngineCompleter(FakeEngine("guess", logprob=-9.0))
    assert completer.last_attempt("a.py") is None
    assert await completer.complete(request_at("x = ‸")) == []
    attempt = completer.last_attempt("a.py")
    assert attempt is not None
    assert attempt.text == "guess"
    completer.document_closed("a.py")
    assert completer.last_attempt("a.py") is None
