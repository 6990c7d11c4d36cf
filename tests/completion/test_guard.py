"""The veto: what the index knows not to exist is taken back, and nothing that may exist ever is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from completion.api import CompletionRequest
from completion.claims import ClaimKind, read_claims, statement_start
from completion.context.index import Indexer
from completion.context.library import Library
from completion.context.store import Store
from completion.context.symbols import SymbolTable
from completion.context.workspace import Workspace
from completion.generation import beginning_with
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import Chunk, GenerateRequest, ModelInfo
from model.errors import RequestError
from model.fake import FakeEngine
from model.hub import DEFAULT_MODEL
from model.local import LocalEngine
from model.train.start import shipped_adapter
from tests.cursor import at_cursor

FILES = {
    "shop/__init__.py": "",
    "shop/money.py": '''
from dataclasses import dataclass
from functools import lru_cache
from decimal import Decimal as D

RATE = 2


class Money:
    """An amount."""

    currency: str = "EUR"

    def __init__(self, cents, *, currency="EUR"):
        self.cents = cents

    def plus(self, other):
        return Money(self.cents + other.cents)


class Coin(Money):
    def toss(self):
        return self


class Foreign(D):
    pass


def parse_money(text, strict=True):
    return Money(int(text))


@lru_cache
def cached(key):
    return key


@dataclass
class Pair:
    one: int


def any_of(*parts, **named):
    return parts


@app.command
def wrapped(a):
    return a
''',
    "shop/dynamic.py": "def known():\n    pass\n\n\ndef __getattr__(name):\n    return name\n",
    "shop/deep/__init__.py": "from shop.money import Money\n",
    "shop/deep/inner.py": "def f():\n    pass\n",
    "json.py": "def mine():\n    pass\n",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    root = tmp_path_factory.mktemp("root")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    file = tmp_path_factory.mktemp("index") / "index.sqlite"
    store = Store(file, writable=True)
    for _ in Indexer(root, store).reconcile():
        pass
    store.close()
    library = Library(file)
    yield library
    library.close()


def verdicts(library: Library, text: str, path: str = "shop/cart.py") -> list[str]:
    """The reasons for which claims of a text are refused."""
    library.put(path, text, "python")
    library.refresh()
    found = []
    for claim in read_claims(text, final=True):
        table = SymbolTable(library, path=path, text=text[: claim.end], behind=text[claim.end :])
        ruling = table.judge(claim)
        if ruling is not None:
            found.append(ruling.reason)
    library.forget(path)
    return found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("from .money import parse_mony\n", "shop.money has no parse_mony"),
        ("from shop.money import (Money,\n    Coins)\n", "shop.money has no Coins"),
        ("from shop import money\nx = money.parse_mony('1')\n", "shop.money has no parse_mony"),
        ("import shop.money\nx = shop.money.parse_mony('1')\n", "shop.money has no parse_mony"),
        ("from .money import parse_money\nx = parse_money('1', loose=True)\n", "parse_money() takes no loose"),
        (
            "from .money import parse_money\nx = parse_money('1', True, 3)\n",
            "parse_money() takes no more than 2 arguments",
        ),
        ("from .money import Money\nx = Money(1, curency='USD')\n", "Money() takes no curency"),
        ("from . import money\nx = money.parse_money('1', loose=1)\n", "money.parse_money() takes no loose"),
        ("from .money import Money\n\ndef f(m: Money):\n    return m.balance\n", "Money has no balance"),
        ("from .money import Coin\n\ndef f():\n    c = Coin(1)\n    return c.flip()\n", "Coin has no flip"),
        ("from .money import Money\nx = Money.zero\n", "Money has no zero"),
        ("from .money import cached\nx = cached(1, 2)\n", "cached() takes no more than 1 arguments"),
    ],
)
def test_what_cannot_be(library: Library, text: str, reason: str) -> None:
    assert verdicts(library, text) == [reason]


@pytest.mark.parametrize(
    "text",
    [
        "from .money import parse_money, Money as M, RATE, dataclass\n",
        "from .dynamic import anything\n",
        "from .elsewhere import anything\n",
        "from .deep import inner, Money\n",
        "import json\nx = json.dumps(1)\n",
        "import shop.money as money\nmoney = other\nx = money.anything\n",
        "from shop import money\nmoney.patched = 1\n",
        "from .money import parse_money\nx = parse_money(*parts, 1, 2, 3)\n",
        "from .money import parse_money\nx = parse_money('1', strict=False,\n)\n",
        "from .money import any_of, wrapped, Pair\nany_of(1, 2, 3, a=4)\nwrapped(1, 2, b=3)\nPair(one=1, two=2)\n",
        "from .money import Money\n\ndef f(m: Money):\n    return m.cents + m.plus(m).anything + m.__doc__\n",
        "from .money import Money\n\ndef f(m: Money):\n    if isinstance(m, Other):\n        return m.amount\n",
        "from .money import Money\n\ndef f(m: Money):\n    m = other(m)\n    return m.amount\n",
        "from .money import Money\n\ndef f(m: Money):\n    return m.toss()\n",
        "from .money import Foreign\n\ndef f(m: Foreign):\n    return m.amount\n",
        "from .money import Coin\n\ndef f():\n    c = Coin(1)\n    return c.plus(c).cents, c.toss()\n",
        "from .money import parse_money\n\ndef parse_money(a, b, c):\n    pass\n\nparse_money(1, 2, 3, d=4)\n",
        "def f(money):\n    from shop import money\n    return money.anything\n",
        "from .money import parse_money\nx = parse_money(lambda a, b: a, True)\n",
        "from .money import parse_money\nx = parse_money('1', strict == loose)\n",
        "from .money import Money\nclass M(Money):\n    pass\nx = M.anything\nself.anything()\n",
    ],
)
def test_what_may_be(library: Library, text: str) -> None:
    assert verdicts(library, text) == []


def test_half_written_claims_are_not_judged() -> None:
    assert read_claims("x = money.par", final=False) == []
    assert [claim.name for claim in read_claims("x = money.par", final=True)] == ["par"]
    assert read_claims("f(a=", final=False)[-1].kind is ClaimKind.ARGUMENT
    assert read_claims("m.x = 1", final=True) == []
    assert [claim.name for claim in read_claims("m.x == 1", final=True)] == ["x"]
    assert read_claims("'a.b' # c.d\n", final=True) == []


def test_statements_begin_behind_the_last_whole_line() -> None:
    text = "y = 1\nx = f(\n    a,\n    b"
    assert text[statement_start(text) :] == "x = f(\n    a,\n    b"


def test_openings_as_a_regular_expression() -> None:
    import re

    pattern = re.compile(beginning_with(("plus", "pl", ")")))
    for text, fits in [("plus", True), ("plus(1)", True), ("pl.x\ny", True), (")", True), (")\nx", True)]:
        assert bool(pattern.fullmatch(text)) is fits
    assert not pattern.fullmatch("plush")
    assert not pattern.fullmatch("minus")


TERSELY = ModelInfo(name="m", architecture="a", fim_family="tersely")


def saying(answers: dict[str, str]) -> FakeEngine:
    """Says, behind a prompt that ends with a key of `answers`, its value."""
    return FakeEngine(lambda prompt: next(said for end, said in answers.items() if prompt.endswith(end)), info=TERSELY)


async def complete(root: Path, source: str, engine: FakeEngine, *, veto: bool = True) -> tuple[str, tuple[str, ...]]:
    """What is suggested in a folder that has money.py, and what was vetoed on the way."""
    (root / "money.py").write_text(FILES["shop/money.py"], encoding="utf-8")
    workspace = Workspace(time_limit_ms=None, first_wait_s=60)
    completer = EngineCompleter(engine, CompletionSettings(veto=veto, look_ahead=False), workspace)
    text, offset = at_cursor(source)
    request = CompletionRequest(text=text, offset=offset, path="cart.py", root=str(root))
    (suggestion,) = await completer.attempt(request)
    await completer.aclose()
    return suggestion.text, suggestion.explanation.vetoes


async def test_the_next_best_takes_its_place(tmp_path: Path) -> None:
    engine = saying({"x = ": "money.parse_mony(1)", "x = money.": "parse_money(1)"})
    text, vetoes = await complete(tmp_path, "import money\n\nx = ‸\n", engine)
    assert text == "money.parse_money(1)"
    assert vetoes == ("money has no parse_mony",)
    grammar = engine.requests[1].sampling.grammar
    assert grammar is not None
    assert "parse_money" in grammar.text
    assert engine.cancelled == 1  # what came behind the impossible name was not waited for


async def test_what_was_typed_of_a_name_stays(tmp_path: Path) -> None:
    engine = saying({"money.parse_": "mony(1)"})
    text, _ = await complete(tmp_path, "import money\n\nx = money.parse_‸\n", engine)
    assert text == ""
    grammar = engine.requests[1].sampling.grammar
    assert grammar is not None
    assert grammar.text.startswith("(?:(?:money)")


async def test_a_model_that_insists_is_cut(tmp_path: Path) -> None:
    engine = saying({"y():\n    ": "a = 1\n    money.parse_mony(1)\n", "money.": "parse_mony(2)\n"})
    text, vetoes = await complete(tmp_path, "import money\n\ndef y():\n    ‸\n", engine)
    assert text == "a = 1"
    assert len(engine.requests) == len(vetoes) == 3


class _WithoutGrammars(FakeEngine):
    """As a provider's API: refuses what it cannot do."""

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        if request.sampling.grammar is not None:
            raise RequestError("No grammars.", hint="Leave it out.")
        async for chunk in super().generate(request):
            yield chunk


async def test_an_engine_that_takes_no_grammar_is_cut_short(tmp_path: Path) -> None:
    engine = _WithoutGrammars("a = 1\n    money.parse_mony(1)\n", info=TERSELY)
    text, _ = await complete(tmp_path, "import money\n\ndef y():\n    ‸\n", engine)
    assert text == "a = 1"
    assert len(engine.requests) == 1


async def test_without_the_veto_nothing_is_asked_twice(tmp_path: Path) -> None:
    engine = saying({"x = ": "money.parse_mony(1)"})
    text, vetoes = await complete(tmp_path, "import money\n\nx = ‸\n", engine, veto=False)
    assert (text, vetoes) == ("money.parse_mony(1)", ())
    assert len(engine.requests) == 1


class _Inventing:
    """Says what does not exist where it may, and lets the real engine speak where it may not."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._fake = FakeEngine("money.parse_mony(1)")

    async def info(self) -> ModelInfo:
        return await self._engine.info()

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return await self._engine.count_tokens(texts)

    def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        return (self._fake if request.sampling.grammar is None else self._engine).generate(request)

    async def aclose(self) -> None:
        await self._engine.aclose()


@pytest.mark.model
async def test_the_real_engine_takes_a_name_that_exists(tmp_path: Path, embedded_model: Path) -> None:
    (tmp_path / "money.py").write_text(FILES["shop/money.py"], encoding="utf-8")
    adapter = shipped_adapter(DEFAULT_MODEL)
    engine = await asyncio.to_thread(LocalEngine.load, embedded_model, adapter=adapter, threads=1)
    settings = CompletionSettings(look_ahead=False, time_limit_ms=None)
    completer = EngineCompleter(_Inventing(engine), settings, Workspace(time_limit_ms=None, first_wait_s=60))
    text, offset = at_cursor("import money\n\nx = ‸\n")
    request = CompletionRequest(text=text, offset=offset, path="cart.py", root=str(tmp_path))
    (suggestion,) = await completer.attempt(request)
    await completer.aclose()
    assert suggestion.explanation.vetoes == ("money has no parse_mony",)
    name = suggestion.text.removeprefix("money.").partition("(")[0].partition(".")[0]
    assert name in {"RATE", "Money", "Coin", "Foreign", "parse_money", "cached", "Pair", "any_of", "wrapped", "D"}
