"""Names that are read behind the cursor and that nothing binds: a source with a cursor in, names out."""

from __future__ import annotations

import pytest

from completion.missing import missing_names
from tests.cursor import at_cursor


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(xs):\n    ‸\n    for x in xs:\n        total += x\n    return total\n", ["total"]),
        ("def f(xs):\n    ‸\n    return total\n", ["total"]),
        ("def f(xs):\n    if xs:\n        ‸\n        xs.append(last)\n", ["last"]),
        ("def f():\n    ‸\n    return low + high\n", ["low", "high"]),
        ("def f():\n    def g():\n        ‸\n        return a\n    return b\n", ["a"]),
        ("def f():\n    ‸\n    if n:\n        n = 2\n", ["n"]),
        ("def f():\n    ‸\n    LIMIT > 3\n", ["LIMIT"]),
        # Bound: as a parameter, above, by a loop, a comprehension, a walrus, an import, an exception, outside.
        ("def f(total):\n    ‸\n    return total\n", []),
        ("def f():\n    total = 1\n    ‸\n    return total\n", []),
        ("def f(xs):\n    ‸\n    for total in xs:\n        print(total)\n", []),
        ("def f(xs):\n    ‸\n    return [x for x in xs]\n", []),
        ("def f(xs):\n    ‸\n    return {k: v for k, v in xs if v}, lambda y: y\n", []),
        ("def f():\n    ‸\n    if (n := 1):\n        return n\n", []),
        ("def f():\n    ‸\n    import mine\n    return mine\n", []),
        ("def f():\n    ‸\n    try:\n        pass\n    except OSError as error:\n        raise error\n", []),
        ("total = 1\ndef f():\n    ‸\n    return total\n", []),
        ("def f():\n    ‸\n    return total\n\ntotal = 1\n", []),
        ("class A:\n    def f(self):\n        ‸\n        return self.total\n", []),
        # Known to every file, or forgotten elsewhere: functions, types and modules.
        ("def f(xs):\n    ‸\n    return len(xs), os.sep, np.zeros\n", []),
        ("def f(xs):\n    ‸\n    return Path(xs), helper(xs)\n", []),
        ("def f(xs):\n    ‸\n    return dict(total=1), xs.total\n", []),
        ("def f(\n    a,\n) -> int:\n    ‸\n    return a + b\n", ["b"]),
        ("def f():\n    pass\n\n\nclass A:\n    ‸\n    def g(self):\n        return b\n", []),
        ("def f():\n    ‸\n    from a.b import c\n    import d.e, g as h\n    return c, d, h\n", []),
        ("def f():\n    if x:\n        pass\n    # why\n# here\n    ‸\n    return b\n", ["b"]),
        ("def f():\n    ‸\n    return lambda *xs, **ys: (xs, ys)\n", []),
        ("def f():\n    ‸\n    def g():\n        return late\n    late = 1\n    return g\n", []),
        ("def f():\n    ‸\n    class A:\n        def method(self):\n            pass\n    return A\n", []),
        ("def f():\n    ‸\n    global total\n    total = 1\n", []),
        ("def f():\n    global total\n    ‸\n    return total\n", []),
        ("from a import *\ndef f():\n    ‸\n    return total\n", []),
        ("def f():\n    ‸\n    return __file__\n", []),
        ("def f(xs):\n    ‸\n    return f(xs)[[[\n", []),
        # Not in a function; too many; what comes before the cursor; half-written lines.
        ("‸\nprint(total)\n", []),
        ("def f():\n    ‸\n    return a + b + c + d\n", []),
        ("def f():\n    x = total\n    ‸\n    return total\n", []),
        ("def f():\n    ‸\n    raise\n    else:\n", []),
        ("def f():\n    ‸\n\ndef g():\n    return total\n", []),
    ],
)
def test_missing_names(source: str, names: list[str]) -> None:
    text, offset = at_cursor(source)
    assert [one.name for one in missing_names(text, offset)] == names


def test_what_the_next_block_reads_is_told_apart() -> None:
    text, offset = at_cursor("def f(xs):\n    ‸\n        print(x)\n    return y\n")
    assert [(one.name, one.in_block) for one in missing_names(text, offset)] == [("x", True), ("y", False)]


def test_a_function_of_many_lines_is_left_alone() -> None:
    text, offset = at_cursor("def f():\n    ‸\n    return total\n" + "    # filler\n" * 2000)
    assert missing_names(text, offset) == []
