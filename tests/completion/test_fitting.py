"""Where only one kind of line will do: a source with a cursor and a line in; whether the grammar takes it, out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import exp

import pytest

from completion.alternatives import branches
from completion.api import CompletionRequest, Suggestion
from completion.generation import Draft, Token
from completion.service import EngineCompleter
from completion.stopping import Cut
from model.api import Chunk, GenerateRequest
from model.checkpoint.gguf import GgufFile
from model.constraint import Constraints
from model.errors import RequestError
from model.fake import FakeEngine
from model.tokenizer import Tokenizer, read_tokenizer
from tests.cursor import at_cursor
from tests.model.tiny import write_tiny

BLOCK = "def f(xs):\n    n = 0\n    ‸\n        n += x\n    return n\n"
LOOP = "def f(xs):\n    ‸\n    for x in xs:\n        total += x\n    return total\n"
TABLE = "def f(xs):\n    n = 0\n    ‸\n        'a': 1,\n        'b': 2,\n    }\n    return n\n"
AFTER_IF = "def f(x):\n    if x:\n        x = 1\n    ‸\n        x = 2\n    return x\n"
CALL = "function f(x) {\n  g();\n  ‸\n    x,\n    2,\n  );\n}\n"


async def asked(source: str, generated: str = "pass", *, path: str = "a.py") -> tuple[GenerateRequest, Suggestion]:
    """What the engine is asked at the cursor, and what becomes of its answer."""
    text, offset = at_cursor(source)
    engine = FakeEngine(generated)
    (suggestion,) = await EngineCompleter(engine).attempt(CompletionRequest(text=text, offset=offset, path=path))
    return engine.requests[0], suggestion


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    with GgufFile(write_tiny(tmp_path_factory.mktemp("tokenizer") / "tiny.gguf")) as file:
        return read_tokenizer(file)


def takes(request: GenerateRequest, text: str, tokenizer: Tokenizer) -> bool:
    """Whether the request's grammar takes a text as a whole."""
    assert request.sampling.grammar is not None
    constraint = Constraints(tokenizer, tokenizer.end_ids).start(request.sampling.grammar)
    tokens = tokenizer.encode(text, bare=True)
    if constraint.valid(tokens) < len(tokens):
        return False
    for token in tokens:
        constraint.advance(token)
    return constraint.complete


@pytest.mark.parametrize(
    ("source", "line", "taken"),
    [
        (BLOCK, "for x in xs:", True),
        (BLOCK, "for x, y in zip(xs, xs):", True),
        (BLOCK, "with open(xs) as x:", True),
        (BLOCK, "for y in xs:", False),  # x is read there, and nothing binds it
        (BLOCK, "if xs:", False),
        (BLOCK, "n = 1", False),
        (BLOCK, "for x in xs: # each", False),
        (BLOCK.replace("+= x", "+= 1"), "if xs:", True),
        (BLOCK.replace("+= x", "+= 1"), "while n < 3:", True),
        (BLOCK.replace("+= x", "+= 1"), "else:", False),
        (BLOCK.replace("+= x", "+= 1"), "try:", False),
        (BLOCK.replace("+= x", "+= 1"), "return n", False),
        (BLOCK.replace("    return n\n", "    except OSError:\n        pass\n"), "try:", True),
        (AFTER_IF, "else:", True),
        (AFTER_IF, "elif x > 1:", True),
        (AFTER_IF, "x = 3", False),
        (LOOP, "total = 0", True),
        (LOOP, "total: int = 0", True),
        (LOOP, "total, other = 0, 1", True),
        (LOOP, "total=[\n        1,\n    ]", True),
        (LOOP, "total == 0", False),
        (LOOP, "return sum(xs)", False),
        (LOOP, "total =", False),
        (TABLE, "table = {", True),
        (TABLE, "table = dict(", True),
        (TABLE, "table = 1", False),
        (TABLE, "if n:", False),
    ],
)
async def test_the_grammar_of_the_line(source: str, line: str, taken: bool, tokenizer: Tokenizer) -> None:
    request, _ = await asked(source)
    assert takes(request, line, tokenizer) is taken


async def test_an_open_bracket_in_other_languages(tokenizer: Tokenizer) -> None:
    request, _ = await asked(CALL, path="a.ts")
    assert takes(request, "const y = h(", tokenizer)
    assert not takes(request, "const y = 1;", tokenizer)


@pytest.mark.parametrize(
    "source",
    [
        "def f(xs):\n    ‸\n    return xs\n",
        "def f(xs):\n    x‸\n        n += x\n",
        "def f(xs):\n    ‸)\n        n += x\n",
        "class A:\n    def f(self):\n        pass\n\n‸\n    def g(self):\n        pass\n",
        "class A:\n    def f(self):\n        x = 1\n‸\n        return x\n",
        'def f(xs):\n    """Text.\n\n    ‸\n        total\n    """\n',
        "x = [\n    ‸\n        1,\n]\n",
        "def f():\n    return g(\n        ‸\n            total,\n    )\n",
        "if x:\n    a = 1; b = 2\n    ‸\n    # why\n    c = 3\n",
    ],
)
async def test_elsewhere_any_line_may_do(source: str) -> None:
    request, _ = await asked(source)
    assert request.sampling.grammar is None


async def test_why_is_told() -> None:
    _, suggestion = await asked(LOOP, "total = 0")
    assert suggestion.text == "total = 0"
    assert "asked for one kind of line: the code behind the cursor reads total, which nothing binds" in (
        suggestion.explanation.filters
    )


async def test_the_model_did_not_choose_what_was_forced() -> None:
    """The name counts for nothing in the confidence, where the text begins with it."""
    _, forced = await asked(LOOP, "total = 0")
    _, free = await asked(LOOP, "x = sum(xs)")
    assert forced.explanation.signals["joint"] == pytest.approx(-0.1 * 2)
    assert free.explanation.signals["joint"] == pytest.approx(-0.1 * 6)
    assert exp(forced.explanation.signals["first"]) == pytest.approx(exp(-0.1))


def test_alternatives_leave_what_was_forced() -> None:
    draft = Draft("total = 0", Cut(9, "eos"), given=5)
    draft.tokens = [Token(5, -3.0, (("sum", -0.5),)), Token(7, -0.1, ((":", -2.0),)), Token(9, -0.1, ((" 1", -1.0),))]
    assert [one.text for one in branches(draft, count=3)] == ["total = 1", "total:"]


async def test_engines_that_know_no_grammars_say_what_they_like() -> None:
    class Plain(FakeEngine):
        async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
            if request.sampling.grammar is not None:
                raise RequestError("No grammars here.")
            async for chunk in super().generate(request):
                yield chunk

    text, offset = at_cursor(LOOP)
    (suggestion,) = await EngineCompleter(Plain("return sum(xs)")).attempt(
        CompletionRequest(text=text, offset=offset, path="a.py")
    )
    assert suggestion.text == "return sum(xs)"
    assert not any("asked for" in note for note in suggestion.explanation.filters)
