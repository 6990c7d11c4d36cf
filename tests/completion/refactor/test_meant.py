"""What answers mean: calls that come to the same are put in one way."""

from __future__ import annotations

import pytest

from completion.refactor.calls import (
    AddTypes,
    AnyCall,
    ChangeKind,
    ChangeSignature,
    Decline,
    ExtractVariable,
    FindSymbol,
    Inline,
    Move,
    ParameterChange,
    Rename,
)
from completion.refactor.meant import meant
from completion.refactor.symbols import outline
from completion.refactor.wish import Turn, View, Wish

PATH = "shop.py"
CODE = """def total(items, tax):
    net = sum(
        items, start(0)
    )
    return net + tax * net
"""
WHOLE = View(path=PATH, language="python", outline=outline(CODE, PATH), variables=("total.tax", "total.net"))
SELECTING = View(
    path=PATH, language="python", outline=WHOLE.outline, first_line=2, last_line=5,
    selected="\n".join(CODE.split("\n")[1:5]),
)  # fmt: skip


def changed(*changes: ParameterChange) -> ChangeSignature:
    return ChangeSignature(symbol="total", changes=changes)


def variable(line: int, expression: str) -> ExtractVariable:
    return ExtractVariable(path=PATH, line=line, expression=expression, new_name="x")


RATE = changed(ParameterChange(change=ChangeKind.RENAME, parameter="tax", new_name="rate"))
TAX = ParameterChange(change=ChangeKind.REMOVE, parameter="tax")
ITEMS = ParameterChange(change=ChangeKind.REMOVE, parameter="items")
SUM = "sum(\n        items, start(0)\n    )"


@pytest.mark.parametrize(
    ("said", "expected", "view"),
    [
        ((Inline(symbol="total"), Inline(symbol="total")), (Inline(symbol="total"),), WHOLE),
        ((Rename(symbol="total.tax", new_name="rate"),), (RATE,), WHOLE),
        ((Rename(symbol="tax", new_name="rate"),), (RATE,), WHOLE),
        ((ChangeSignature(symbol="tax", changes=RATE.changes),), (RATE,), WHOLE),
        ((Inline(symbol="net"),), (Inline(symbol="total.net"),), WHOLE),
        ((Rename(symbol="total.net", new_name="rate"),), (Rename(symbol="total.net", new_name="rate"),), WHOLE),
        ((changed(TAX, TAX),), (changed(TAX),), WHOLE),
        ((changed(ITEMS), changed(TAX)), (changed(ITEMS, TAX),), WHOLE),
        ((variable(4, "start(0)"),), (variable(3, "start(0)"),), SELECTING),
        ((variable(4, SUM),), (variable(2, SUM),), SELECTING),
        ((variable(4, "net"),), (variable(4, "net"),), SELECTING),
        ((variable(4, "start(0)"),), (variable(4, "start(0)"),), WHOLE),
        ((Decline(reason="No."),), (Decline(reason="No."),), WHOLE),
    ],
)  # fmt: skip
def test_answers(said: tuple[AnyCall, ...], expected: tuple[AnyCall, ...], view: View) -> None:
    assert meant(said, Wish(instruction="do it to net and tax", view=view)) == expected


def test_what_acts_on_something_out_of_view_looks_for_it() -> None:
    wish = Wish(instruction="type Walker and Runner, move Walker to a.py", view=WHOLE)
    said = (AddTypes(symbol="Walker"), Move(source="Walker", to_path="a.py"), AddTypes(symbol="Runner"))
    assert meant(said, wish) == (FindSymbol(symbol="Walker"), FindSymbol(symbol="Runner"))
    looked = Turn(calls=(FindSymbol(symbol="Walker"),), results=("class b.py::Walker lines 1-2",))
    whole = (AddTypes(symbol="b.py::Walker"), Move(source="b.py::Walker", to_path="a.py"), AddTypes(symbol="Runner"))
    assert meant(said, Wish(instruction=wish.instruction, view=WHOLE, turns=(looked,))) == whole
