"""The choices of an answer: what they are, how likely the model held them, and that each can be barred."""

from __future__ import annotations

import math

import pytest

from completion.refactor.allowed import Barred, Presence
from completion.refactor.calls import (
    AddDocstring,
    AnyCall,
    ChangeKind,
    ChangeSignature,
    ExtractFunction,
    Move,
    ParameterChange,
    Rename,
    Rewrite,
)
from completion.refactor.choices import choices
from completion.refactor.grammar import answer_grammar
from completion.refactor.layout import write
from completion.refactor.symbols import outline
from completion.refactor.wish import View, Wish
from model.api import TokenLogprob
from tests.completion.refactor.test_layout import accepts

PATH = "src/parser.py"
CODE = "def tokenize(text, limit):\n    return text.split()\n\n\ndef load(path):\n    return tokenize(path)\n"
WISH = Wish(
    instruction='rename load, tokenize to fetch, read; limit strict 3 to 4 "text" src/io.py src/core.py',
    view=View(
        path=PATH, language="python", outline=outline(CODE, PATH), first_line=6, last_line=6, selected="    return"
    ),
)
CHANGE = ParameterChange(change=ChangeKind.ADD, parameter="strict", default="3")
CALLS: list[AnyCall] = [
    Rename(symbol="load", new_name="fetch"),
    Move(source="load", to_path="src/io.py"),
    ExtractFunction(path=PATH, first_line=3, last_line=4, new_name="fetch"),
    ChangeSignature(symbol="tokenize", changes=(CHANGE,)),
    ChangeSignature(symbol="tokenize", changes=(ParameterChange(change=ChangeKind.REMOVE, parameter="limit"),)),
    Rewrite(pattern="load($$$ARGS)", replacement="fetch($$$ARGS)"),
    AddDocstring(symbol="load"),
    AddDocstring(symbol="load", text="text"),
]


def spelled(text: str, unlikely: dict[str, float]) -> list[TokenLogprob]:
    """A token for each sign; those that begin one of these pieces have its probability."""
    chances = {text.index(piece): math.log(chance) for piece, chance in unlikely.items()}
    return [TokenLogprob(token_id=0, text=sign, logprob=chances.get(at, 0.0)) for at, sign in enumerate(text)]


def test_choices_know_what_stands_before_them() -> None:
    call = Rename(symbol="load", new_name="fetch")
    tool, symbol, name = choices([call], spelled(write([call]), {"rename": 0.8, '"load': 0.5, '"fetch': 0.25}))
    assert (tool.barred, symbol.barred) == (Barred(Rename), Barred(Rename, "symbol", "load"))
    assert name.barred == Barred(Rename, "new_name", "fetch")
    assert (tool.before, tool.own) == pytest.approx((1.0, 0.8))
    assert (symbol.before, symbol.own) == pytest.approx((0.8, 0.5))
    assert (name.before, name.own) == pytest.approx((0.4, 0.25))


def test_that_an_argument_is_left_out_is_a_choice_too() -> None:
    call = AddDocstring(symbol="load")
    found = choices([call], spelled(write([call]), {'"}': 0.3}))
    assert found[-1].barred == Barred(AddDocstring, "text", Presence.LEFT_OUT)
    assert found[-1].own == pytest.approx(0.3)
    given = AddDocstring(symbol="load", text="text")
    assert [one.barred.value for one in choices([given], spelled(write([given]), {}))][2:] == [Presence.GIVEN]


def test_what_is_spelled_in_another_way_has_no_choices() -> None:
    call = Rename(symbol="load", new_name="fetch")
    assert choices([call], spelled('rename {"symbol": "load", "new_name": "fetch"}', {})) == []


@pytest.mark.parametrize("call", CALLS, ids=lambda call: write([call]))
def test_what_is_barred_is_not_said_again(call: AnyCall) -> None:
    text = write([call])
    assert accepts(answer_grammar(WISH), text)
    found = choices([call], spelled(text, {}))
    assert found
    for choice in found:
        grammar = answer_grammar(WISH, barred=[choice.barred])
        assert not accepts(grammar, text), choice
        assert accepts(grammar, 'decline {"reason":"No."}')


def test_pieces_of_text_can_be_barred() -> None:
    call = AddDocstring(symbol="load", text="text")
    grammar = answer_grammar(WISH, barred=[Barred(AddDocstring, "text", "text")])
    assert not accepts(grammar, write([call]))
    assert accepts(grammar, write([AddDocstring(symbol="load", text="to fetch")]))
