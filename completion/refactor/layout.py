"""The one prompt layout of the embedded model's tools: a wish to segments, calls to the answer's text and back.

Training and serving both call `prompt` and `write`, so they agree to the token; docs/prompt-layout.md describes it.
Every token costs, so an outline is cut to what the wish may be about. It knows no tokenizer and asks no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from completion.refactor.calls import AnyCall
from completion.refactor.schema import arguments_of, decode, name_of
from completion.refactor.wish import Symbol, Turn, View, Wish
from model.api import Segment
from model.errors import UsageError

FAMILY = "tersely-tools"
"""What an adapter that learned this layout says it speaks (`AdapterInfo.family`)."""
END = "<|im_end|>"
_START = "<|im_start|>"
_FILE, _SELECTION, _WISH = "<file_sep>", "<issue_comment>", "<issue_start>"
CONTROL_TOKENS = (_FILE, _SELECTION, _WISH, _START, END)
"""Every control token that a prompt or an answer has."""
MOST_SYMBOLS = 16
_HEAD_LINES, _TAIL_LINES = 5, 2
_LINE_CHARACTERS = 120
_RESULT_LINES = 10
_WORD = re.compile(r"[^\W\d]\w*")
_RECEIVERS = {"self", "cls"}


def prompt(wish: Wish) -> tuple[Segment, ...]:
    """The prompt whose continuation is the calls of the next turn."""
    parts = [Segment(_START, special=True), Segment("user\n"), *_view(wish.view, wish.instruction)]
    parts += [Segment(_WISH, special=True), Segment(wish.instruction.strip()), *_ask("assistant")]
    for turn in wish.turns:
        parts += [Segment(write(turn.calls)), *_ask("tool"), Segment(_results(turn)), *_ask("assistant")]
    return tuple(part for part in parts if part.special or part.text)


def write(calls: Iterable[AnyCall]) -> str:
    """The answer that makes these calls: one a line, the tool's name and its arguments as compact JSON."""
    return "\n".join(f"{name_of(call)} {_compact(arguments_of(call))}" for call in calls)


def read(answer: str) -> tuple[AnyCall, ...]:
    """The calls of an answer. Raises `UsageError` for one that is not made of valid calls, or of none."""
    lines = [line.strip() for line in answer.strip().split("\n") if line.strip()]
    if not lines:
        raise UsageError("The model called nothing.", hint="Say the wish in other words.")
    return tuple(decode(*_halves(line)) for line in lines)


def shown(view: View, instruction: str) -> tuple[Symbol, ...]:
    """The symbols of the outline that the prompt shows, in their order: what holds the selection, what the wish may
    name by its words, and then what is nearest to the selection, or first in the file."""
    if len(view.outline) <= MOST_SYMBOLS:
        return view.outline
    words = {word.lower() for word in _WORD.findall(instruction)}
    middle = 0 if view.first_line is None else view.first_line
    holder = enclosing(view)

    def rank(symbol: Symbol) -> tuple[bool, bool, int]:
        named = symbol.name.rpartition(".")[2].lower() in words
        return symbol != holder, not named, abs(symbol.first_line - middle)

    chosen = set(sorted(view.outline, key=rank)[:MOST_SYMBOLS])
    return tuple(symbol for symbol in view.outline if symbol in chosen)


def enclosing(view: View) -> Symbol | None:
    """The innermost symbol whose lines hold the whole selection."""
    if view.first_line is None:
        return None
    first, last = view.first_line, view.last_line or view.first_line
    holders = [symbol for symbol in view.outline if symbol.first_line <= first and last <= symbol.last_line]
    return min(holders, key=lambda symbol: symbol.last_line - symbol.first_line, default=None)


def parameter_names(symbol: Symbol) -> tuple[str, ...]:
    """The names alone, without stars, annotations, defaults and receivers."""
    return _names(symbol.parameters)


def parameters_in(signature: str) -> tuple[str, ...]:
    """The same of a signature as a looking tool shows it, without its brackets."""
    return _names(signature.split(","))


def _names(parameters: Iterable[str]) -> tuple[str, ...]:
    found = (_WORD.search(text) for text in parameters)
    return tuple(match[0] for match in found if match is not None and match[0] not in _RECEIVERS)


def _view(view: View, instruction: str) -> list[Segment]:
    parts: list[Segment] = []
    if view.path:
        rows = "".join(f"\n{_outlined(symbol)}" for symbol in shown(view, instruction))
        parts += [Segment(_FILE, special=True), Segment(view.path + rows)]
    if view.first_line is not None:
        parts += [Segment(_SELECTION, special=True), Segment(_selected(view, view.first_line))]
    return parts


def _outlined(symbol: Symbol) -> str:
    """`Parser.feed(data, limit) 52`: the number is that of its last line, after which code may be put."""
    callable_ = symbol.parameters or symbol.kind in ("function", "method")
    signature = f"({', '.join(parameter_names(symbol))})" if callable_ else ""
    return f"{symbol.name}{signature} {symbol.last_line}"


def _selected(view: View, first: int) -> str:
    """Where the selection is, and its lines, numbered, with less indentation; long ones by their head and tail."""
    holder, last = enclosing(view), view.last_line or first
    where = f"{first}-{last}" + (f" in {holder.name}" if holder is not None else "")
    lines = view.selected.rstrip("\n").split("\n") if view.selected.strip() else []
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    rows = [f"{number} {line[indent:][:_LINE_CHARACTERS]}".rstrip() for number, line in enumerate(lines, first)]
    if len(rows) > _HEAD_LINES + _TAIL_LINES + 1:
        rows = [*rows[:_HEAD_LINES], "…", *rows[-_TAIL_LINES:]]
    return "\n".join([where, *rows])


def _results(turn: Turn) -> str:
    return "\n".join(_cut(result) for result in turn.results)


def _cut(result: str) -> str:
    lines = [line[:_LINE_CHARACTERS] for line in result.strip("\n").split("\n")]
    return "\n".join([*lines[:_RESULT_LINES], "…"] if len(lines) > _RESULT_LINES else lines)


def _ask(role: str) -> tuple[Segment, ...]:
    return Segment(END, special=True), Segment("\n"), Segment(_START, special=True), Segment(f"{role}\n")


def _compact(arguments: dict[str, object]) -> str:
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


def _halves(line: str) -> tuple[str, str]:
    name, _, arguments = line.partition(" ")
    return name, arguments
