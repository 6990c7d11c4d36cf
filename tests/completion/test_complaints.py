"""What people complain of in copilots, a test each: a source with a cursor and a model's text in, what is shown out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from completion.api import CompletionRequest, Level, SelectedItem
from completion.context.workspace import Workspace
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import GenerateRequest, ModelInfo, Priority
from model.fake import FakeEngine, prompt_text
from tests.cursor import at_cursor

# A family whose models were taught to go on from a blank.
INFO = ModelInfo(name="fake", architecture="fake", fim_family="mistral", context_tokens=4096)


async def shown(source: str, generated: str, *, level: Level = Level.BALANCED, path: str = "a.py") -> str:
    """What is offered at the cursor when the model says `generated`; empty: nothing."""
    text, offset = at_cursor(source)
    engine = FakeEngine(generated, logprob=-0.001, info=INFO)
    completer = EngineCompleter(engine, CompletionSettings(level=level))
    suggestions = await completer.complete(CompletionRequest(text=text, offset=offset, path=path))
    return suggestions[0].text if suggestions else ""


async def test_too_long() -> None:
    generated = "1\n" + "".join(f"y{number} = {number}\n" for number in range(50))
    assert await shown("x = ‸\n", generated) == "1"


async def test_too_much_in_a_block() -> None:
    generated = "".join(f"    y{number} = {number}\n" for number in range(50)).lstrip()
    assert (await shown("def f():\n    ‸\n", generated, level=Level.BALANCED)).count("\n") < 12


async def test_runs_on_into_the_next_function() -> None:
    assert await shown("def f():\n    ‸\n", "return 1\n\n\ndef g():\n    return 2\n") == "return 1"


@pytest.mark.parametrize(
    ("source", "generated", "expected"),
    [
        ("print(‸)\n", "total)\n", "total"),
        ("items[‸]\n", "0]\n", "0"),
        ("if ‸:\n    pass\n", "ready:\n    go()\n", "ready"),
        ("x = f(a, ‸)  # why\n", "b)  # why\n", "b"),
        ("def f():\n    ‸\n    return total\n", "total = 1\n    return total\n", "total = 1"),
        ("‸\nimport sys\n", "import sys\n", ""),
    ],
)
async def test_duplicated_suffix(source: str, generated: str, expected: str) -> None:
    assert await shown(source, generated) == expected


@pytest.mark.parametrize(
    ("source", "generated", "expected"),
    [
        ("if x:\n    ‸\n", " y = 1\n     z = 2\nw()", "y = 1\n    z = 2"),
        ("if x:\n\t‸\n", "while y:\n        z()\n", "while y:\n\t\tz()"),
        ("if x:\r\n    ‸\r\n", "y = 1\n    z = 2\nw()", "y = 1\r\n    z = 2"),
    ],
)
async def test_wrong_indentation_tabs_and_line_ends(source: str, generated: str, expected: str) -> None:
    assert await shown(source, generated) == expected


async def test_says_the_same_over_and_over() -> None:
    assert await shown("x = ‸\n", "amount.value + " * 20) == "amount.value"


async def test_nothing_to_add_is_left_alone() -> None:
    assert await shown("return total‸\n", "\n\ndef other():\n") == ""


async def test_fires_inside_a_word() -> None:
    assert await shown("to‸tal = 1\n", "xyz") == ""


@pytest.mark.parametrize(
    ("source", "generated"),
    [
        ("if x:\n    go()\n‸    stop()\n", "else:\n    pass"),
        ("if x:\n    ‸# Stop.\n    stop()\n", "go()"),
    ],
)
async def test_runs_into_the_text_of_the_line(source: str, generated: str) -> None:
    assert await shown(source, generated) == ""


async def test_a_docstrings_end_is_no_text_of_the_line() -> None:
    source = 'def f():\n    """Do it.\n\n    ‸"""\n    pass\n'
    assert await shown(source, "And more.") == "And more."


@pytest.mark.parametrize(
    ("source", "path", "expected"),
    [
        ("def f():\n    return total\n    ‸\n", "a.py", ""),
        ("def f():\n    if ready:\n        return total\n    ‸\n", "a.py", "return total"),
        ("function f() {\n  return total;\n  ‸\n}\n", "a.js", ""),
        ("function f() {\n  return total;\n  ‸\n", "a.js", "return total"),  # what ends the block may be said
    ],
)
async def test_says_what_is_never_reached(source: str, path: str, expected: str) -> None:
    assert await shown(source, "return total", path=path) == expected


async def test_fires_on_every_key_and_loads_the_gpu() -> None:
    engine = FakeEngine("return total\n", logprob=-0.001, info=INFO)
    completer = EngineCompleter(engine)
    for typed in ("", "r", "re", "ret", "re", "retur", "return t"):
        text = f"def f():\n    {typed}\n"
        (suggestion,) = await completer.complete(CompletionRequest(text=text, offset=13 + len(typed), path="a.py"))
        assert typed + suggestion.text == "return total"
    assert len(engine.requests) == 1
    await completer.aclose()


async def test_works_in_the_background_while_the_user_types() -> None:
    engine = FakeEngine("return total\n", logprob=-0.001)
    completer = EngineCompleter(engine)
    for number in range(5):
        request = CompletionRequest(text=f"x{number}\n", offset=2, path="a.py")
        await completer.complete(request)
    assert all(request.priority is Priority.INTERACTIVE for request in engine.requests)
    await completer.aclose()


async def test_generation_is_not_really_cancelled() -> None:
    engine = FakeEngine("a b c d e f g h", token_delay_s=0.05)
    task = asyncio.create_task(EngineCompleter(engine).complete(CompletionRequest(text="x = ", offset=4)))
    while not engine.requests:  # noqa: ASYNC110 - the engine sets no event
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert (engine.cancelled, len(engine.requests)) == (1, 1)


async def test_generates_on_after_the_line_is_done() -> None:
    engine = FakeEngine(" 1\n" + "y = 2\n" * 20)
    (suggestion,) = await EngineCompleter(engine).attempt(CompletionRequest(text="x = ", offset=4, path="a.py"))
    assert engine.cancelled == 1
    assert suggestion.usage.completion_tokens <= 3


@pytest.mark.parametrize(
    "leaked", ["<|endoftext|>", "<|fim_middle|>", "</s>", "<EOT>", "<｜end▁of▁sentence｜>", "[SUFFIX]"]
)
async def test_leaked_stop_tokens(leaked: str) -> None:
    assert await shown("x = ‸\n", f"total{leaked}\ndef f():\n") == "total"


async def test_takes_for_ever() -> None:
    engine = FakeEngine("one\n    two\n    three", token_delay_s=0.2, info=INFO)
    completer = EngineCompleter(engine, CompletionSettings(time_limit_ms=300))
    (suggestion,) = await completer.attempt(CompletionRequest(text="def f():\n    ", offset=13, path="a.py"))
    assert suggestion.stop_reason == "time"
    assert suggestion.text in ("", "one")
    assert engine.cancelled == 1


@pytest.mark.parametrize(
    ("source", "generated", "expected"),
    [
        ("‸\n", "if ready:\n    go()\n    stop()\nwait()\n", "if ready:\n    go()\n    stop()"),
        ("x = ‸\n", '"""one\ntwo\n"""\ny = 2\n', '"""one\ntwo\n"""'),
        ("‸\n", "try:\n    go()\nexcept OSError:\n    pass\nwait()\n", "try:\n    go()\nexcept OSError:\n    pass"),
        ("def f():\n    ‸\n        return 1\n", "if x:\n        y()\n", "if x:"),
    ],
)
async def test_stops_half_way(source: str, generated: str, expected: str) -> None:
    assert await shown(source, generated) == expected


@pytest.mark.parametrize(
    ("source", "generated"),
    [("‸\ny = 1\n", "def f(:\n"), ("x = ‸\ny = 1\n", "f(a b\n"), ("f(‸)\n", "a, 'b\n")],
)
async def test_breaks_the_file(source: str, generated: str) -> None:
    assert await shown(source, generated) == ""


async def test_writes_placeholders_instead_of_code() -> None:
    assert await shown("def f():\n    ‸\n", "# TODO: implement\n    pass\n") == ""


async def test_prints_secrets() -> None:
    assert await shown("key = ‸\n", '"' + "AKIA" + "Z7Q2M4N6P8R0T1V3" + '"\n') == ""


async def test_ghost_text_fights_the_completion_menu() -> None:
    engine = FakeEngine("(total)", logprob=-0.001)
    request = CompletionRequest(text="x = ro", offset=6, path="a.py", selected=SelectedItem(4, 6, "round"))
    (suggestion,) = await EngineCompleter(engine).complete(request)
    assert (suggestion.text, suggestion.start, suggestion.end) == ("round(total)", 4, 6)


MONEY = "def parse_money(text, strict=True):\n    return text\n"


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ("money.parse_mony(1)\n", "parse_money(1)\n", "money.parse_money(1)"),
        ("money.parse_money(1, lenient=True)\n", "strict=True)\n", "money.parse_money(1, strict=True)"),
        ("money.parse_money(1, True, 3)\n", ")\n", "money.parse_money(1, True)"),
    ],
)
async def test_invented_arguments_and_fields(tmp_path: Path, first: str, then: str, expected: str) -> None:
    (tmp_path / "money.py").write_text(MONEY, encoding="utf-8")
    asked: list[GenerateRequest] = []
    engine = FakeEngine(
        lambda prompt: first if prompt.endswith("x = ") else then,
        logprob=-0.001,
        info=ModelInfo(name="m", architecture="a", fim_family="tersely"),
    )
    completer = EngineCompleter(engine, context=Workspace(time_limit_ms=None, first_wait_s=60))
    text, offset = at_cursor("import money\n\nx = ‸\n")
    request = CompletionRequest(text=text, offset=offset, path="cart.py", root=str(tmp_path))
    (suggestion,) = await completer.attempt(request)
    asked += engine.requests
    await completer.aclose()
    assert suggestion.text == expected
    assert len(suggestion.explanation.vetoes) == 1
    assert asked[1].sampling.grammar is not None


async def test_missing_or_unwanted_context(tmp_path: Path) -> None:
    (tmp_path / "money.py").write_text(MONEY, encoding="utf-8")
    (tmp_path / ".env").write_text("TOKEN=parse_money\n", encoding="utf-8")
    engine = FakeEngine("1", info=ModelInfo(name="m", architecture="a", fim_family="tersely"))
    completer = EngineCompleter(engine, context=Workspace(time_limit_ms=None, first_wait_s=60))
    text, offset = at_cursor("from money import parse_money\n\nx = parse_money(‸)\n")
    await completer.attempt(CompletionRequest(text=text, offset=offset, path="a.py", root=str(tmp_path)))
    await completer.aclose()
    prompt = prompt_text(engine.requests[0].prompt)
    assert "def parse_money" in prompt
    assert "TOKEN" not in prompt


async def test_rereads_the_prompt_at_every_key() -> None:
    info = ModelInfo(name="m", architecture="a", fim_family="qwen", context_tokens=4096)
    completer = EngineCompleter(FakeEngine("", info=info))
    before, behind = "a = 1\n" * 100, "\nb = 2" * 30
    for count, char in enumerate("result = "):
        typed = "result = "[: count + 1]
        request = CompletionRequest(text=before + typed + behind, offset=len(before) + count + 1, path="a.py")
        usage = (await completer.attempt(request))[0].usage
        assert char in typed
        assert count == 0 or usage.prompt_tokens - usage.cached_tokens <= 3


async def test_unsure_guesses_are_shown() -> None:
    text, offset = at_cursor("x = ‸")
    completer = EngineCompleter(FakeEngine("guess", logprob=-9.0))
    assert await completer.complete(CompletionRequest(text=text, offset=offset)) == []


async def test_a_placeholder_that_people_write_is_no_leaked_token() -> None:
    """Granite's token before a file's path is spelled as many a usage line spells a file."""
    text, offset = at_cursor("usage = ‸")
    for said, shown in (('"prog <filename>"', '"prog <filename>"'), ("1<fim_pad>", "1"), ("1<file_sep>a.py", "1")):
        (suggestion,) = await EngineCompleter(FakeEngine(said)).complete(CompletionRequest(text=text, offset=offset))
        assert suggestion.text == shown
