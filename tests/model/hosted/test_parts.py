"""Holes read back from prompts, and code taken out of fences: each fast path against its reference."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import fim
from model.api import Prompt, Segment
from model.errors import RequestError
from model.hosted.fences import FenceStripper, strip_fences
from model.hosted.hole import FAMILY, Hole, read_hole, with_files
from model.hosted.instruction import hole_messages

paths = st.text(alphabet="ab/._", max_size=6)
texts = st.text(alphabet="ab \n<|>", max_size=12)


@given(prefix=texts, suffix=texts, path=paths, others=st.lists(st.tuples(paths, texts), max_size=3))
def test_what_is_rendered_is_read_back(prefix: str, suffix: str, path: str, others: list[tuple[str, str]]) -> None:
    snippets = tuple(fim.Snippet(*other) for other in others)
    prompt = fim.render(FAMILY, prefix=prefix, suffix=suffix, path=path, snippets=snippets)
    assert read_hole(prompt) == Hole(prefix=prefix, suffix=suffix, path=path, snippets=snippets)


PLAIN: dict[str, tuple[Prompt, Hole]] = {
    "a string": ("def f(", Hole(prefix="def f(")),
    "text alone": ((Segment("def f("),), Hole(prefix="def f(")),
    "no path": (fim.apply(FAMILY, prefix="", suffix="x"), Hole(prefix="", suffix="x")),
}


@pytest.mark.parametrize(("prompt", "hole"), PLAIN.values(), ids=PLAIN)
def test_other_prompts(prompt: Prompt, hole: Hole) -> None:
    assert read_hole(prompt) == hole


@pytest.mark.parametrize("prompt", [(1, 2), (Segment("<fim_prefix>", special=True), Segment("x"))])
def test_prompts_that_no_host_takes(prompt: Prompt) -> None:
    with pytest.raises(RequestError):
        read_hole(prompt)


def test_files_come_under_headers() -> None:
    hole = Hole(prefix="P", path="a.py", snippets=(fim.Snippet("b.py", "B"),))
    assert with_files(hole, "+++++ {path}") == "+++++ b.py\nB\n+++++ a.py\nP"
    assert with_files(Hole(prefix="P", path="a.py"), "+++++ {path}") == "P"


def test_the_mark_is_none_of_the_code() -> None:
    hole = Hole(prefix="x = <<CURSOR>>", suffix="<<CURSOR1>>\n", path="a.py")
    system, user = hole_messages(hole)
    assert "exactly" in system.text
    assert user.text == "a.py, with the mark <<CURSOR2>>:\nx = <<CURSOR>><<CURSOR2>><<CURSOR1>>\n"


def test_snippets_come_before_the_code() -> None:
    hole = Hole(prefix="P", path="a.py", snippets=(fim.Snippet("b.py", "B"), fim.Snippet("c.py", "C")))
    assert hole_messages(hole)[1].text.startswith("Other places of the repository:\n\nb.py:\nB\n\nc.py:\nC\n\na.py, ")


FENCED = {
    "return 1": "return 1",
    "    return 1\n": "    return 1\n",
    "```python\nreturn 1\n```": "return 1",
    "```\n  a\n  b\n```\nThis adds.": "  a\n  b",
    "\n```py\na": "a",
    "```py\na\n": "a\n",
    "```": "",
    "``": "``",
    "`x`": "`x`",
    "": "",
    "Use ```x```": "Use ```x```",
}


@pytest.mark.parametrize(("answer", "code"), FENCED.items())
def test_fences(answer: str, code: str) -> None:
    assert strip_fences(answer) == code


@given(
    answer=st.text(alphabet="`a\n ", max_size=14) | st.sampled_from(sorted(FENCED)),
    cuts=st.lists(st.integers(0, 14), max_size=5),
)
def test_a_stream_is_stripped_as_a_whole_is(answer: str, cuts: list[int]) -> None:
    stripper = FenceStripper()
    places = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[start:end] for start, end in pairwise(places)]
    got = "".join(stripper.feed(piece) for piece in pieces) + stripper.close()
    assert got == strip_fences(answer)
