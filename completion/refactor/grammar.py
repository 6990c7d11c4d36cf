"""The grammar of the answers to a wish, for a decoder that may write nothing else: Lark text as llguidance reads it.

Rules come from the calls' own types. Symbols, parameters, paths and expressions are limited to what exists: what is in
view, and what earlier turns found. New names, values and texts are limited to what the wish says: a small model copies
them, and invents none. A tool that has nothing to act on is left out, so a wish about a symbol that is not
in view can only be looked up, or declined. Needs no library to be made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, get_type_hints

from msgspec.structs import FieldInfo, fields

from completion.refactor.calls import (
    ACTING,
    LOOKING,
    AddDocstring,
    Call,
    ChangeKind,
    ChangeSignature,
    Decline,
    Edit,
    ExtractFunction,
    ExtractVariable,
    FilePath,
    Generate,
    Identifier,
    LineNumber,
    Move,
    ParameterChange,
    Search,
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
_WORD = re.compile(r"(?<!\w)[^\W\d]\w*")
_NAME = re.compile(r"[^\W\d][\w./:-]*\w")
_COPIED = {(AddDocstring, "text"), (Generate, "instruction"), (Edit, "new"), (Search, "text")}
"""Arguments that are a piece of the wish."""
_LOCAL = re.compile(r"(?<![\w.])[^\W\d]\w*")
_TERMINALS = r"""
STRING: /"([^"\\\x00-\x1f]|\\["\\\/bfnrt]|\\u[0-9a-fA-F]{4})*"/
FILLED: /"([^"\\\x00-\x1f]|\\["\\\/bfnrt]|\\u[0-9a-fA-F]{4})+"/
IDENTIFIER: /"[A-Za-z_\p{L}][A-Za-z0-9_\p{L}]*"/
NUMBER: /0|[1-9][0-9]{0,5}/
LINE: /[1-9][0-9]{0,5}/
"""


def answer_grammar(wish: Wish, *, may_decline: bool = True) -> str:
    """One decline, or up to eight calls that all act or all look, each on a line of its own."""
    names, paths, parameters = symbols(wish), known_paths(wish), _parameters(wish)
    words = _words(wish.instruction)
    asked = tuple(dict.fromkeys([*_NAME.findall(wish.instruction), *words, *names]))
    targets = tuple(path for path in known_paths(replace(wish, view=View(), turns=())) if path != wish.view.path)
    terminals = {
        "symbol": names,
        "path": paths,
        "parameter": parameters,
        "word": words,
        "asked": asked,
        "target": targets,
    }
    rules = [f"{name}: {_alternatives(values)}" for name, values in terminals.items() if values]
    rules += [f"{name}: {_substring(text)}" for name, text in _texts(wish).items()]
    given = {line.partition(":")[0] for line in rules}
    acting = [tool for tool in ACTING if tool is not Decline and _possible(tool, given, wish)]
    tools: tuple[type[Call], ...] = (*acting, *LOOKING, *((Decline,) if may_decline else ()))
    rules += [_rule(tool, given) for tool in tools]
    if ChangeSignature in acting:
        rules.append(_change(given))
    many = f'("\\n" {{}}){{{{0,{MOST_CALLS - 1}}}}}'
    start = "start: " + ("decline | " if may_decline else "") + "look " + many.format("look")
    start += " | act " + many.format("act") if acting else ""
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


def _parameters(wish: Wish) -> tuple[str, ...]:
    """Those in view, or in what the tools found, that the wish names."""
    said = set(_words(wish.instruction))
    shown = [name for symbol in wish.view.outline for name in parameter_names(symbol)]
    found = [name for turn in wish.turns for result in turn.results for name in _WORD.findall(result)]
    return tuple(dict.fromkeys(name for name in [*shown, *found] if name in said))


def _texts(wish: Wish) -> dict[str, str]:
    """What pieces are taken of, as JSON spells it: the selected text, and the wish."""
    texts = {"selected": wish.view.selected, "said": wish.instruction}
    return {name: json.dumps(text, ensure_ascii=False)[1:-1] for name, text in texts.items() if text.strip()}


def _possible(tool: type[Call], given: set[str], wish: Wish) -> bool:
    """Whether what the tool acts on is there: symbols, or lines. Any path can be named, as looking calls take any."""
    if tool is ExtractVariable:
        return "selected" in given
    if tool is ExtractFunction:
        return "selected" in given or any(character.isdigit() for character in wish.instruction)
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
        return "symbol" if tool in ACTING else _given("asked", given, "FILLED")
    if tool is Move and field.name == "source":
        return "(symbol | path)" if {"symbol", "path"} <= given else "FILLED"
    if hint == FilePath:
        return _given("target" if tool is Move else "path", given, "FILLED")
    if hint == Identifier:
        return _given("word", given, "IDENTIFIER")
    if hint == LineNumber:
        return "LINE"
    if hint == tuple[ParameterChange, ...] or field.name == "changes":
        return '"[" change ("," change)* "]"'
    if (tool, field.name) in ((ExtractVariable, "expression"), (Edit, "old")) and "selected" in given:
        return '"\\"" selected "\\""'
    if field.name == "after_line":
        return "NUMBER"
    if (tool, field.name) in _COPIED and "said" in given:
        return '"\\"" said "\\""'
    return "FILLED" if field.required and field.name not in ("new", "replacement") else "STRING"


def _change(given: set[str]) -> str:
    """One change of one parameter; all but a new one name a parameter that exists."""
    existing, word = _given("parameter", given, "IDENTIFIER"), _given("word", given, "IDENTIFIER")
    value = '("\\"" said "\\"" | "\\"None\\"" | "\\"null\\"")' if "said" in given else "FILLED"
    head = {kind: _quoted(f'{{"change":"{kind}","parameter":') for kind in ChangeKind}
    new_name, default, position = (_quoted(f',"{name}":') for name in ("new_name", "default", "position"))
    added = f'{head[ChangeKind.ADD]} {word} {default} {value} ({position} NUMBER)? "}}"'
    if "parameter" not in given and "word" in given:
        return "change: " + added
    rows = [
        added,
        f'{head[ChangeKind.REMOVE]} {existing} "}}"',
        f'{head[ChangeKind.RENAME]} {existing} {new_name} {word} "}}"',
        f'{head[ChangeKind.MOVE]} {existing} {position} NUMBER "}}"',
        f'{head[ChangeKind.DEFAULT]} {existing} {default} {value} "}}"',
    ]
    return "change: " + " | ".join(rows)


def _words(instruction: str) -> tuple[str, ...]:
    """The identifiers of a wish; the first also with a small letter, since sentences begin with a capital."""
    found = _WORD.findall(instruction)
    first = [found[0][0].lower() + found[0][1:]] if found else []
    return tuple(dict.fromkeys([*found, *first]))


def _given(rule: str, given: set[str], otherwise: str) -> str:
    return rule if rule in given else otherwise


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
