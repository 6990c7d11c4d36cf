"""The grammar of the answers to a wish, for a decoder that may write nothing else: Lark text as llguidance reads it.

Rules come from the calls' own types. Symbols, parameters, paths and expressions are limited to what exists: what is in
view, and what earlier turns found. A tool that has nothing to act on is left out, so a wish about a symbol that is not
in view can only be looked up, or declined. Needs no library to be made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any, get_type_hints

from msgspec.structs import FieldInfo, fields

from completion.refactor.calls import (
    ACTING,
    LOOKING,
    Call,
    ChangeKind,
    ChangeSignature,
    Decline,
    Edit,
    ExtractVariable,
    FilePath,
    Identifier,
    LineNumber,
    Move,
    ParameterChange,
    SymbolName,
)
from completion.refactor.layout import enclosing, parameter_names
from completion.refactor.schema import name_of
from completion.refactor.wish import View, Wish

MOST_CALLS = 8
_SYMBOL = re.compile(r"[\w./\\-]+::[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_PATH = re.compile(
    r"(?<![\w:./-])(?:[\w.-]+(?:/[\w.-]+)+|[\w-]+\.(?:pyi?|[cm]?[jt]sx?|go|java|rs|c|h|cpp|cs|rb|php|kt|swift)\b)"
)
_LOCAL = re.compile(r"(?<![\w.])[^\W\d]\w*")
_TERMINALS = r"""
STRING: /"([^"\\\x00-\x1f]|\\["\\\/bfnrt]|\\u[0-9a-fA-F]{4})*"/
FILLED: /"([^"\\\x00-\x1f]|\\["\\\/bfnrt]|\\u[0-9a-fA-F]{4})+"/
IDENTIFIER: /"[A-Za-z_\p{L}][A-Za-z0-9_\p{L}]*"/
NUMBER: /0|[1-9][0-9]{0,5}/
LINE: /[1-9][0-9]{0,5}/
"""


def answer_grammar(wish: Wish) -> str:
    """One decline, or up to eight calls that all act or all look, each on a line of its own."""
    names, paths, parameters = symbols(wish), known_paths(wish), _parameters(wish.view)
    terminals = {"symbol": names, "path": paths, "parameter": parameters}
    rules = [f"{name}: {_alternatives(values)}" for name, values in terminals.items() if values]
    rules += [f"{name}: {_substring(text)}" for name, text in _texts(wish.view).items()]
    given = {line.partition(":")[0] for line in rules}
    acting = [tool for tool in ACTING if tool is not Decline and _possible(tool, given)]
    tools: tuple[type[Call], ...] = (*acting, *LOOKING, Decline)
    rules += [_rule(tool, given) for tool in tools]
    if ChangeSignature in acting:
        rules.append(_change(given))
    many = f'("\\n" {{}}){{{{0,{MOST_CALLS - 1}}}}}'
    start = "start: decline | look " + many.format("look") + (" | act " + many.format("act") if acting else "")
    groups = [f"look: {' | '.join(map(name_of, LOOKING))}"]
    groups += [f"act: {' | '.join(map(name_of, acting))}"] if acting else []
    return "\n".join([start, *groups, *rules, _TERMINALS.strip()]) + "\n"


def symbols(wish: Wish) -> tuple[str, ...]:
    """The symbols that a call may act on: those of the outline, names in the selection as members of what holds it, and
    what the tools found, by their paths."""
    view, holder = wish.view, enclosing(wish.view)
    prefix = f"{holder.name}." if holder is not None and holder.kind in ("function", "method") else ""
    local = [f"{prefix}{name}" for name in _LOCAL.findall(view.selected)] if prefix else []
    found = [match for turn in wish.turns for result in turn.results for match in _SYMBOL.findall(result)]
    return tuple(dict.fromkeys([*(symbol.name for symbol in view.outline), *local, *found]))


def known_paths(wish: Wish) -> tuple[str, ...]:
    """The paths that a call may name as existing: in view, in the wish, and in what the tools found."""
    found = [match for turn in wish.turns for result in turn.results for match in _PATH.findall(result)]
    named = [match.strip(".") for match in _PATH.findall(wish.instruction)]
    view = [wish.view.path, *(symbol.path for symbol in wish.view.outline)]
    return tuple(dict.fromkeys(path for path in (*view, *named, *found) if path))


def _parameters(view: View) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for symbol in view.outline for name in parameter_names(symbol)))


def _texts(view: View) -> dict[str, str]:
    """What `expression` and `old` must stand in: the selected text, as JSON spells it."""
    text = json.dumps(view.selected, ensure_ascii=False)[1:-1]
    return {"selected": text} if text.strip() else {}


def _possible(tool: type[Call], given: set[str]) -> bool:
    """Whether what the tool acts on is there. Any path can be named, since looking calls take any."""
    return all("symbol" in given for field in fields(tool) if _hint(tool, field) == SymbolName)


def _rule(tool: type[Call], given: set[str]) -> str:
    parts = [f'"{name_of(tool)} {{"']
    for number, field in enumerate(fields(tool)):
        key = _quoted(f'{"," if number else ""}"{field.name}":')
        value = _value(tool, field, given)
        parts.append(f"{key} {value}" if field.required else f"({key} {value})?")
    return f"{name_of(tool)}: {' '.join(parts)} " + '"}"'


def _value(tool: type[Call], field: FieldInfo, given: set[str]) -> str:
    """The rule of a field, by its type."""
    hint = _hint(tool, field)
    if hint == SymbolName:
        return "symbol" if tool in ACTING else "FILLED"
    if tool is Move and field.name == "source":
        return "(symbol | path)" if {"symbol", "path"} <= given else "FILLED"
    if hint == FilePath:
        return "path" if "path" in given and tool is not Move else "FILLED"
    if hint == Identifier:
        return "IDENTIFIER"
    if hint == LineNumber:
        return "LINE"
    if hint == tuple[ParameterChange, ...] or field.name == "changes":
        return '"[" change ("," change)* "]"'
    if (tool, field.name) in ((ExtractVariable, "expression"), (Edit, "old")) and "selected" in given:
        return '"\\"" selected "\\""'
    if field.name == "after_line":
        return "NUMBER"
    return "FILLED" if field.required and field.name not in ("new", "replacement") else "STRING"


def _change(given: set[str]) -> str:
    """One change of one parameter; all but a new one name a parameter that exists."""
    existing = "parameter" if "parameter" in given else "IDENTIFIER"
    head = {kind: _quoted(f'{{"change":"{kind}","parameter":') for kind in ChangeKind}
    new_name, default, position = (_quoted(f',"{name}":') for name in ("new_name", "default", "position"))
    rows = [
        f'{head[ChangeKind.ADD]} IDENTIFIER {default} FILLED ({position} NUMBER)? "}}"',
        f'{head[ChangeKind.REMOVE]} {existing} "}}"',
        f'{head[ChangeKind.RENAME]} {existing} {new_name} IDENTIFIER "}}"',
        f'{head[ChangeKind.MOVE]} {existing} {position} NUMBER "}}"',
        f'{head[ChangeKind.DEFAULT]} {existing} {default} FILLED "}}"',
    ]
    return "change: " + " | ".join(rows)


def _hint(tool: type[Call], field: FieldInfo) -> Any:
    return field_types(tool)[field.name]


@cache
def field_types(tool: type[Call]) -> dict[str, Any]:
    """The types of a tool's fields, as `calls` writes them."""
    return get_type_hints(tool, include_extras=True)


def _alternatives(values: Iterable[str]) -> str:
    return " | ".join(_quoted(json.dumps(value, ensure_ascii=False)) for value in values)


def _substring(text: str) -> str:
    return f"%regex {json.dumps({'substring_chars': text}, ensure_ascii=False)}"


def _quoted(text: str) -> str:
    """A Lark string."""
    return json.dumps(text, ensure_ascii=False)
