"""A repository and a cursor in, the places that matter out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from completion.context.library import Library
from completion.context.rank import Budget
from completion.context.retriever import Retriever
from tests.completion.context.repository import ask, indexed

FILES = {
    "shop/__init__.py": "from .money import Money\n",
    "shop/money.py": (
        "class Money:\n    cents: int\n\n    def plus(self, other):\n        return self\n\n"
        "    def minus(self, other):\n        return self\n\n\ndef parse_money(text):\n    return Money()\n"
    ),
    "shop/base.py": "class Base:\n    def save(self):\n        return 1\n\n    def _load(self):\n        return 2\n",
    "shop/errors.py": "class TooPoorError(Exception):\n    pass\n\n\nclass Receipt:\n    pass\n",
    "shop/helpers.py": "def round_up(x):\n    return x\n\n\ndef round_down(x):\n    return x\n",
    "tests/test_cart.py": "def test_total():\n    assert 1\n",
    "web/util.ts": "export function fetchJson(url: string) { return url }\nexport const LIMIT = 3;\n",
}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return indexed(tmp_path, FILES)


@pytest.mark.parametrize(
    ("path", "source", "first"),
    [
        ("shop/cart.py", "from shop.money import parse_money\n\ndef f(text):\n    ‸\n", "shop/money.py parse_money"),
        ("shop/cart.py", "from .money import parse_money\n\ndef f(text):\n    ‸\n", "shop/money.py parse_money"),
        ("shop/cart.py", "from . import Money\n\nx = ‸\n", "shop/money.py Money"),
        ("shop/cart.py", "from shop import Money as M\n\nx = ‸\n", "shop/money.py Money"),
        ("shop/cart.py", "from .errors import Receipt, TooPoorError\n\ndef f():\n    raise ‸\n",
         "shop/errors.py TooPoorError"),
        ("shop/cart.py", "from . import helpers\nfrom .money import Money\n\nx = helpers.‸\n",
         "shop/helpers.py round_up"),
        ("shop/cart.py", "from . import helpers\n\nx = helpers.round_d‸\n", "shop/helpers.py round_down"),
        ("shop/cart.py", "from .money import Money\n\ndef f(price: Money):\n    price.m‸\n", "shop/money.py minus"),
        ("shop/cart.py", "from .money import Money\n\nprice = Money()\nprice.pl‸\n", "shop/money.py plus"),
        ("shop/cart.py", "from .base import Base\n\nclass Cart(Base):\n    def go(self):\n        self.sa‸\n",
         "shop/base.py save"),
        ("web/app.ts", "import { fetchJson } from './util';\n\nexport const x = ‸\n", "web/util.ts fetchJson"),
        ("shop/cart.py", "def f(text):\n    parse_money(text)\n    ‸\n", "shop/money.py parse_money"),
    ],
)  # fmt: skip
def test_what_the_cursor_needs_comes_first(library: Library, path: str, source: str, first: str) -> None:
    retriever, request = ask(library, path, source)
    best = retriever.ranked(request)[0].candidate
    assert f"{best.path} {best.name}" == first


def test_buffers_override_the_disk(library: Library) -> None:
    library.put("shop/money.py", "def newly_named(text): return text\n", "python")
    retriever, request = ask(library, "shop/cart.py", "from .money import newly_named\n\nx = ‸\n")
    (snippet, *_) = retriever.snippets(request)
    assert snippet.text == "def newly_named(text): return text"
    retriever.forget("shop/money.py")
    library.put("shop/cart.py", request.text, "python")
    retriever, request = ask(library, "shop/cart.py", "from .money import newly_named\n\nx = ‸\n")
    assert all(one.candidate.name != "newly_named" for one in retriever.ranked(request))


def test_a_class_is_shown_with_its_members(library: Library) -> None:
    retriever, request = ask(library, "shop/cart.py", "from .money import Money\n\nx = ‸\n")
    (snippet, *_) = retriever.snippets(request)
    assert snippet.text == "class Money:\n    cents: int\n    def plus(self, other):\n    def minus(self, other):"
    assert (snippet.path, snippet.first_line, snippet.source) == ("shop/money.py", 1, "import")


def test_the_file_at_the_cursor_is_never_a_snippet(library: Library) -> None:
    retriever, request = ask(library, "shop/money.py", FILES["shop/money.py"] + "x = ‸\n")
    assert all(one.candidate.path != "shop/money.py" for one in retriever.ranked(request))


def test_typing_on_keeps_the_snippets(library: Library) -> None:
    head = "from .money import Money, parse_money\n\ndef total(text):\n"
    retriever, request = ask(library, "shop/cart.py", head + "    ‸\n")
    first = retriever.snippets(request)
    assert first
    for typed in ("r", "return", "return parse", "return parse_money(text)\n    x = 1"):
        request = replace(request, text=f"{head}    {typed}\n", offset=len(head) + 4 + len(typed))
        assert retriever.snippets(request) == first


def test_far_away_other_snippets_are_chosen_behind_those_that_stay(library: Library) -> None:
    head = "from .money import Money\nfrom .helpers import round_up\n\ndef a(x):\n"
    retriever, request = ask(library, "shop/cart.py", head + "    Money(‸)\n" + "    pass\n" * 30)
    first = retriever.snippets(request, Budget(snippets=1))
    far = request.text + "def b(x):\n    round_up(x)\n    round_up("
    second = retriever.snippets(replace(request, text=far, offset=len(far)), Budget(snippets=2))
    assert second[: len(first)] == first
    assert {one.path for one in second} == {"shop/money.py", "shop/helpers.py"}


@pytest.mark.parametrize(
    "budget",
    [Budget(snippets=1), Budget(characters=60), Budget(snippet_characters=30), Budget(least_score=99.0)],
)
def test_budgets_hold(library: Library, budget: Budget) -> None:
    retriever, request = ask(library, "shop/cart.py", "from shop.money import *\nfrom .base import Base\n\nx = ‸\n")
    snippets = retriever.snippets(request, budget)
    assert len(snippets) <= budget.snippets
    assert sum(len(one.text) for one in snippets) <= budget.characters
    assert all(len(one.text) <= budget.snippet_characters for one in snippets)
    if budget.least_score > 50:
        assert snippets == ()


def test_without_time_there_is_an_answer_nevertheless(library: Library) -> None:
    _, request = ask(library, "shop/cart.py", "from .money import Money\n\nx = ‸\n")
    retriever = Retriever(library, time_limit_ms=0.0)
    assert isinstance(retriever.snippets(request), tuple)
    # Nor is a question that came too late remembered as the answer, nor does it end later ones.
    assert len(library.lines("shop/money.py", 1, 99)) > 10
    assert library.facts("shop/base.py") is not None
    retriever._time_limit_ms = None
    assert [one.path for one in retriever.snippets(request)] == ["shop/money.py"]


def test_without_an_index_open_buffers_are_known() -> None:
    library = Library(None)
    library.put("a/money.py", "def coin(): return 1\n", "python")
    retriever, request = ask(library, "a/b.py", "x = coin‸\n")
    retriever.recent.viewed = ["a/money.py"]
    assert [one.candidate.name for one in retriever.ranked(request)] == ["coin"]


@pytest.mark.parametrize(
    "source", ["‸", "(((‸", "import ‸", "class A(A):\n    def f(self):\n        self.‸", "x.y.z.‸"]
)
@pytest.mark.parametrize("path", ["shop/cart.py", "x.unknown", "web/a.ts", "é.py", "a/b/c/d.go"])
def test_nothing_is_too_broken(library: Library, path: str, source: str) -> None:
    retriever, request = ask(library, path, source)
    retriever.snippets(request)


def test_what_was_edited_lately_is_a_candidate(library: Library) -> None:
    retriever, request = ask(library, "web/app.ts", "const a = ‸\n")
    retriever.recent.edited = [("shop/helpers.py", 2)]
    assert ("edited", "round_up") in [(one.candidate.source, one.candidate.name) for one in retriever.ranked(request)]


def test_a_test_is_shown_the_code_it_tests(tmp_path: Path) -> None:
    library = indexed(tmp_path, FILES | {"shop/cart.py": "def total(): return 1\n"})
    retriever, request = ask(library, "tests/test_cart.py", "def test_x():\n    ‸\n")
    assert ("pair", "total") in [(one.candidate.source, one.candidate.name) for one in retriever.ranked(request)]


def test_secrets_do_not_enter_a_prompt(tmp_path: Path) -> None:
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    library = indexed(tmp_path, {"a/keys.py": f'def client():\n    return connect("{key}")\n'})
    retriever, request = ask(library, "a/b.py", "from .keys import client\n\nx = ‸\n")
    (snippet,) = retriever.snippets(request)
    assert key not in snippet.text
    assert "[redacted]" in snippet.text
