"""Answers into protocol items, with the protocol's rules; tests are sources with a cursor mark."""

from __future__ import annotations

import dataclasses

import pytest
from lsprotocol import types

from completion.api import CompletionTimings, SelectedItem, Suggestion, Trigger, Usage
from lsp import inline, menu
from lsp.buffer import Buffer
from lsp.documents import Document
from lsp.host import Answer
from lsp.positions import Encoding, Place
from tests.cursor import at_cursor

SUGGESTION = Suggestion(
    text="x",
    start=0,
    end=0,
    stop_reason="stop",
    confidence=0.5,
    model="m",
    usage=Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=1),
    timings=CompletionTimings(),
    suggestion_id="id-1",
)


def answer(
    source: str,
    *offered: tuple[str, int, int],
    selected: SelectedItem | None = None,
    encoding: Encoding = Encoding.UTF16,
) -> Answer:
    """An answer at the mark; offers are text, and start and end relative to the cursor."""
    text, offset = at_cursor(source)
    document = Document("u", "python", Buffer(text, encoding=encoding), "u", None)
    suggestions = tuple(
        dataclasses.replace(SUGGESTION, text=text, start=offset + start, end=offset + end)
        for text, start, end in offered
    )
    return Answer(document, offset, selected, suggestions)


def shown(given: Answer) -> list[tuple[str, str, tuple[int, int, int, int]]]:
    return [
        (item.insert_text, item.filter_text, (*_pair(item.range.start), *_pair(item.range.end)))
        for item, _ in inline.to_items(given)
    ]


def _pair(position: types.Position) -> tuple[int, int]:
    return position.line, position.character


FITTING = [
    pytest.param("a‸", ("b", 0, 0), ("b", "b", (0, 1, 0, 1)), id="insert"),
    pytest.param("f(‸)", ("x)", 0, 1), ("x)", "x)", (0, 2, 0, 3)), id="replace what follows"),
    pytest.param("\n  pri‸", ("print()", -3, 0), ("print()", "print()", (1, 2, 1, 5)), id="replace what was typed"),
    pytest.param("Pri‸", ("print()", -3, 0), ("print()", "Print()", (0, 0, 0, 3)), id="filter begins as typed"),
    pytest.param("a‸", ("b\nc", 0, 0), ("b\nc", "b\nc", (0, 1, 0, 1)), id="several lines in a range of one"),
    pytest.param("😀‸", ("b", 0, 0), ("b", "b", (0, 2, 0, 2)), id="UTF-16 columns"),
]


@pytest.mark.parametrize(("source", "offered", "expected"), FITTING)
def test_what_fits_is_shown(source: str, offered: tuple[str, int, int], expected: object):
    assert shown(answer(source, offered)) == [expected]


@pytest.mark.parametrize(
    ("source", "offered"),
    [
        pytest.param("a‸", ("", 0, 0), id="nothing"),
        pytest.param("a‸\nb", ("x", 0, 2), id="range over a line end"),
        pytest.param("ab‸", ("x", -2, -1), id="range away from the cursor"),
        pytest.param("f(‸)", (")", 0, 1), id="what is there already"),
    ],
)
def test_what_does_not_fit_is_left_out(source: str, offered: tuple[str, int, int]):
    assert shown(answer(source, offered)) == []
    assert menu.to_items(answer(source, offered)) == []


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        pytest.param(("console.log()", -3, 0), True, id="extends it over its range"),
        pytest.param(("console", -3, 0), False, id="adds nothing to it"),
        pytest.param(("concat()", -3, 0), False, id="says something else"),
        pytest.param(("sole.log()", 0, 0), False, id="has another range"),
    ],
)
def test_with_a_selected_item_only_what_extends_it(offered: tuple[str, int, int], kept: bool):
    given = answer("con‸", offered, selected=SelectedItem(0, 3, "console"))
    assert bool(shown(given)) is kept


def test_the_command_carries_the_id():
    [(item, _)] = inline.to_items(answer("a‸", ("b", 0, 0)))
    assert (item.command.command, item.command.arguments) == ("tersely.accepted", ["id-1"])


@pytest.mark.parametrize(
    ("encoding", "column"), [(Encoding.UTF8, 4), (Encoding.UTF16, 2), (Encoding.UTF32, 1)], ids=lambda value: str(value)
)
def test_ranges_are_in_the_clients_units(encoding: Encoding, column: int):
    [(_, _, span)] = shown(answer("😀‸", ("b", 0, 0), encoding=encoding))
    assert span == (0, column, 0, column)


def test_queries_say_who_asked_and_what_the_menu_has_selected():
    zero, three = types.Position(0, 0), types.Position(0, 3)
    context = types.InlineCompletionContext(
        types.InlineCompletionTriggerKind.Invoked, types.SelectedCompletionInfo(types.Range(zero, three), "console")
    )
    params = types.InlineCompletionParams(context, types.TextDocumentIdentifier("u"), three)
    query = inline.to_query(params)
    assert (query.trigger, query.place) == (Trigger.INVOKED, Place(0, 3))
    assert query.selected == (Place(0, 0), Place(0, 3), "console")
    params.context = types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic)
    assert (inline.to_query(params).trigger, inline.to_query(params).selected) == (Trigger.AUTOMATIC, None)


@pytest.mark.parametrize(
    ("source", "offered", "label", "text", "span"),
    [
        pytest.param("a.‸", ("b()", 0, 0), "b()", "b()", (2, 2), id="after a point"),
        pytest.param("x = pri‸", ("nt(1)", 0, 0), "print(1)", "print(1)", (4, 7), id="takes in the word before"),
        pytest.param("x‸", (" = 1\ny = 2", 0, 0), "x = 1 …", "x = 1\ny = 2", (0, 1), id="several lines"),
        pytest.param("‸", ("z" * 80, 0, 0), "z" * 59 + "…", "z" * 80, (0, 0), id="long"),
    ],
)
def test_menu_items(source: str, offered: tuple[str, int, int], label: str, text: str, span: tuple[int, int]):
    [(item, _)] = menu.to_items(answer(source, offered))
    assert (item.label, item.text_edit.new_text, item.filter_text) == (label, text, text)
    assert (item.text_edit.range.start.character, item.text_edit.range.end.character) == span
    assert item.insert_text_format == types.InsertTextFormat.PlainText
