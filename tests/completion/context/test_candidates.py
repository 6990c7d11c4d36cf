"""Files and a cursor in, what each source finds out: as `source path name` or `source path:line`."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion.context import kin
from completion.context.library import Library
from tests.completion.context.repository import ask, indexed

FILES = {
    "shop/money.py": (
        "class Money:\n    cents: int\n\n    def plus(self, other) -> 'Money':\n        return self\n\n\n"
        "def parse_money(text) -> Money:\n    return Money()\n"
    ),
    "shop/cart.py": (
        "from .money import Money\n\n\nclass Cart:\n    total: Money\n\n    def __init__(self):\n"
        "        self.paid = Money()\n\n    def add_item(self, item):\n        return item\n"
    ),
    "shop/basket.py": "class Basket:\n    def add_item(self, item):\n        self.items.append(item)\n",
    "shop/checkout.py": (
        "from .cart import Cart\n\n\ndef checkout(order):\n    cart = Cart()\n    for item in order:\n"
        "        cart.add_item(item)\n    return cart\n"
    ),
    "tests/test_cart.py": "def test_total():\n    assert 1\n",
    "web/money.ts": (
        "export class Money {\n  cents = 0;\n  plus(other: Money): Money { return this }\n}\n"
        "export function parse(t: string): Money { return new Money() }\n"
    ),
    "web/cart.spec.ts": "export function totals() { return 1 }\n",
    "web/cart.ts": "export function total() { return 1 }\n",
    "java/shop/Money.java": "package shop;\npublic class Money { public int cents() { return 1; } }\n",
    "go/money/money.go": "package money\n\ntype Money struct { Cents int }\n\nfunc (m *Money) Plus() {}\n",
    "go/money/parse.go": "package money\n\nfunc Parse(text string) *Money { return &Money{} }\n",
    "rust/src/money.rs": "pub struct Money { pub cents: u8 }\nimpl Money { pub fn plus(&self) {} }\n",
    "cpp/money.hpp": "class Money {\n public:\n  int cents;\n  void plus();\n};\n",
}
INSIDE_CART = FILES["shop/cart.py"].replace("return item", "‸")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return indexed(tmp_path_factory.mktemp("repository"), FILES)


def found(library: Library, path: str, source: str, **recent: list[object]) -> set[str]:
    retriever, request = ask(library, path, source)
    for name, value in recent.items():
        setattr(retriever.recent, name, value)
    _, candidates = retriever.gather(request)
    retriever.forget(path)
    return {
        f"{one.source} {one.path} {one.name}" if one.definition else f"{one.source} {one.path}:{one.first_line}"
        for one in candidates
    }


@pytest.mark.parametrize(
    ("path", "source", "member"),
    [
        ("shop/a.py", "from .money import Money\ndef f(price: Money):\n    price.‸", "shop/money.py plus"),
        ("shop/a.py", "from .money import Money\nprice = Money()\nprice.‸", "shop/money.py cents"),
        ("shop/a.py", "from .money import parse_money\nprice = parse_money(1)\nprice.‸", "shop/money.py plus"),
        ("shop/a.py", "from .cart import Cart\ncart = Cart()\ncart.total.‸", "shop/money.py plus"),
        ("shop/a.py", "from .cart import Cart\ncart = Cart()\ncart.paid.‸", "shop/money.py plus"),
        ("shop/a.py", "from .money import Money\nclass A:\n    def f(self):\n        self.price = Money()\n"
         "    def g(self):\n        self.price.‸", "shop/money.py plus"),
        ("shop/a.py", "from .money import Money\nMoney.‸", "shop/money.py plus"),
        ("shop/a.py", "from . import money\nmoney.‸", "shop/money.py parse_money"),
        ("web/a.ts", "import { Money } from './money';\nfunction f(price: Money) { price.‸ }", "web/money.ts plus"),
        ("web/a.ts", "import { Money } from './money';\nconst price = new Money();\nprice.‸", "web/money.ts cents"),
        ("web/a.ts", "import { parse } from './money';\nconst price = parse('1');\nprice.‸", "web/money.ts plus"),
        ("java/shop/A.java", "import shop.Money;\nclass A { void f(Money price) {\n    int x;\n    price.‸ } }",
         ""),
        ("java/shop/A.java", "import shop.Money;\nclass A {\n  void f() {\n    Money price = m();\n    price.‸\n  } }",
         "java/shop/Money.java cents"),
        ("go/main.go", 'package main\nimport "go/money"\nfunc f() {\n\tmoney.‸\n}', "go/money/money.go Money"),
        ("rust/src/a.rs", "use crate::money::Money;\nfn f() {\n    let price = Money::new();\n    price.‸\n}",
         "rust/src/money.rs plus"),
        ("rust/src/a.rs", "use crate::money::Money;\nfn f(price: &Money) {\n    price.‸\n}", "rust/src/money.rs plus"),
        ("shop/a.py", "price = unknown()\nprice.‸", ""),
    ],
)  # fmt: skip
def test_types_and_members_of_the_receiver(library: Library, path: str, source: str, member: str) -> None:
    received = {one for one in found(library, path, source) if one.startswith("receiver")}
    if member:
        assert f"receiver {member}" in received
    elif "java" not in path:
        assert received == set()


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("shop/cart.py", INSIDE_CART, "caller shop/checkout.py:5"),
        ("shop/cart.py", INSIDE_CART, "sibling shop/basket.py:2"),
        ("shop/cart.py", "def parse_money(text):\n    ‸\n", "sibling shop/money.py:8"),
        ("go/money/more.go", "package money\n\nfunc (m *Money) Minus() {\n\t‸\n}\n",
         "inherited go/money/money.go Cents"),
        ("cpp/money.cpp", '#include "money.hpp"\nvoid Money::minus() {\n  ‸\n}\n', "inherited cpp/money.hpp cents"),
        ("shop/new.py", "from .cart import Cart\n\nclass Big(Cart):\n    def f(self):\n        ‸\n",
         "inherited shop/cart.py add_item"),
        ("tests/test_cart.py", "def test_x():\n    ‸\n", "pair shop/cart.py Cart"),
        ("shop/cart.py", "‸", "pair tests/test_cart.py test_total"),
        ("web/cart.ts", "‸", "pair web/cart.spec.ts totals"),
        ("web/cart.spec.ts", "‸", "pair web/cart.ts total"),
        ("web/a.ts", "const a = Money‸", "name web/money.ts Money"),
    ],
)  # fmt: skip
def test_kin_of_the_cursor(library: Library, path: str, source: str, expected: str) -> None:
    assert expected in found(library, path, source)


def test_edits_and_views_of_the_session(library: Library) -> None:
    lately = found(library, "x.py", "‸", edited=[("shop/cart.py", 11)], viewed=["shop/basket.py", "x.py"])
    assert {"edited shop/cart.py add_item", "viewed shop/basket.py Basket"} <= lately


@pytest.mark.parametrize(
    "source",
    ["‸", "class A:\n    def run(self):\n        ‸", "def f():\n    ‸", "def __init__(self):\n    ‸"],
)
def test_common_and_short_names_have_no_kin(library: Library, source: str) -> None:
    assert not {one for one in found(library, "b.py", source) if one.startswith(("caller", "sibling"))}


def test_what_this_file_names_itself_is_not_looked_for_elsewhere(library: Library) -> None:
    source = "def f(cents, plus=1):\n    total = cents\n    for add_item in total:\n        ‸"
    assert not {one for one in found(library, "b.py", source) if one.startswith("name ")}


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("test_cart.py", ("cart", True)),
        ("cart_test.go", ("cart", True)),
        ("cart.spec.ts", ("cart", True)),
        ("cart.test.tsx", ("cart", True)),
        ("cart_spec.rb", ("cart", True)),
        ("CartTest.java", ("Cart", True)),
        ("CartTests.cs", ("Cart", True)),
        ("cart.py", ("cart", False)),
        ("contest.py", ("contest", False)),
        ("cart.module.ts", ("cart", False)),
    ],
)
def test_what_a_file_is_a_test_of(path: str, about: tuple[str, bool]) -> None:
    assert kin.tested(path) == about


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("a/cart.go", ["a/cart_test.go"]),
        ("a/cart_test.go", ["a/cart.go"]),
        ("src/Cart.java", ["test/CartTest.java"]),
        ("test/CartTest.java", ["src/Cart.java"]),
        ("lib/cart.rb", ["spec/cart_spec.rb"]),
        ("near/x.py", ["near/test_x.py", "far/test_x.py"]),
    ],
)
def test_counterparts(tmp_path: Path, path: str, others: list[str]) -> None:
    paths = [
        "a/cart.go", "a/cart_test.go", "src/Cart.java", "test/CartTest.java", "lib/cart.rb", "spec/cart_spec.rb",
        "near/x.py", "near/test_x.py", "far/test_x.py",
    ]  # fmt: skip
    assert kin.counterparts(indexed(tmp_path, dict.fromkeys(paths, "x = 1\n")), path) == others
