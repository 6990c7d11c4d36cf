"""Python by its lines finds what the grammar finds, or leaves the text to it."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path

import pytest

from completion.context.extract import extract, extract_by_grammar
from completion.context.python_outline import outline

ROOT = Path(__file__).parents[3]
_TOGETHER = r'''
x = 1
----
LIMIT: int = 3
A = B = 4
x, y = 1, 2
z += 1
q == 2
else_ = 1
----
class A(B):
    size: int = 0
    name: str
    a.b = 3
    def go(self, n):
        self.n = n
        local = 1
----
class A:
    def f(self):
        self.x = self.y = 1
        self.z: int = 2
        self.a.b = 3
        self.c += 1
        self.d[0] = 1
        self.e == 2
        f(self.g)
----
def f(
    a,  # one
    b=(1,
2),
):
    """Doc

more"""
    return a


def g(): return 1
async def h(x): ...
----
@one

# between
@two(
    3)
class A(metaclass=M):
    @property
    def p(self) -> int:
        return 1
----
def f():
    x = 1
    # inside

    # inside too
  # less
    # not any more

# outside
y = 2
----
class A:
    def f(self):
        pass
        # of f
    # of A
# of none
----
def f():
    pass
    # the end
----
def f():
    # first
    x = 1

    def inner():
        self.y = 1
    class C:
        z = 1
    return x
----
if A:
    X = 1
    if B:
        Y = 2
else:
    Z = 3
try:
    import q
    Q = 1
except E:
    R = 2
----
if A: pass
X = 1
class A: pass
class B(C): ...
----
class A:
    if T:
        x = 1
    else:
        y = 2
    for i in z:
        w = 1
    v = 1
----
import a.b as c, d
from .a import (b as c,  # why
    d)
from x import *
from __future__ import annotations
import e, \
    f
def g():
    from . import h
----
s = """
def no():
    pass
# no
""".format(
    x = 1
)
t = 'it\'s' "#" # '
u = r"\"d"
def yes():
  pass
----
x = 1 + \
    2
y = [
  a, {'b': (c,
)}]
----
class A(Protocol):
    def f(
        self,
        a: int,
    ) -> str: ...
    def g(self) -> None: ...
----
def f(a: int = 3, b: str = 'x:') -> dict[str, int]:
    return {}
lambda_ = lambda x: x
----
with a as b:
    def f():
        pass
while x:
    Y = 1
match z:
    case 1:
        W = 2
----
class Outer:
    class Meta:
        ordering = 1
    after = 2
    def f(self):
        class L:
            x = 1
        self.y = 1
'''
SOURCES = _TOGETHER.split("\n----\n")
"""Each read by lines."""
LEFT = [
    "def f():\n\tpass\n",
    "a = 1; b = 2\n",
    "x = (1\n",
    "x = 1)\n",
    "x = 'never ends\n",
    "def f():\nx = 1\n",
    "class A: x = 1\n",
    "if a: X = 1\n",
    "def f(self):\n    if a: self.x = 1\n",
    "try: import a\nexcept E: pass\n",
    "type X = int\n",
    "ä = 1\n",
    "def f(a): return g(\n    a[1:2])\n",
    "def f(self):\n    x = self.y = 2\n",
    "x = '\0'\n",
    "def f():\r\n    pass\r\n",
]
"""Each left to the grammar."""


@pytest.mark.parametrize("source", SOURCES)
def test_lines_find_what_the_grammar_finds(source: str) -> None:
    assert outline(source) is not None
    assert extract(source, "python") == extract_by_grammar(source, "python")


@pytest.mark.parametrize("source", LEFT)
def test_what_is_laid_out_oddly_is_left_to_the_grammar(source: str) -> None:
    assert outline(source) is None
    assert extract(source, "python") == extract_by_grammar(source, "python")


def test_both_agree_on_files_of_many_hands() -> None:
    folders = [Path(module.__file__).parent for module in (asyncio, json) if module.__file__]
    files = [file for folder in (*folders, ROOT / "completion") for file in sorted(folder.rglob("*.py"))]
    by_lines = 0
    for file in files:
        source = file.read_text(encoding="utf-8")
        ast.parse(source)
        by_lines += outline(source) is not None
        assert extract(source, "python") == extract_by_grammar(source, "python"), file
    assert by_lines > 0.8 * len(files)


@pytest.mark.parametrize("count", [2000, 2001])
def test_files_with_very_many_definitions_are_left_to_the_grammar(count: int) -> None:
    source = "".join(f"x{number} = 1\n" for number in range(count))
    assert (outline(source) is None) is (count > 2000)
    assert extract(source, "python") == extract_by_grammar(source, "python")
