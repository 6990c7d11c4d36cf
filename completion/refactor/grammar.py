"""The grammar of the answers to a wish, for a decoder that may write nothing else: Lark text as llguidance reads it.

Rules come from the calls' own types. What calls act on is limited to the symbols that the wish may be about
(`targets`), each with its own parameters and with names that it can get; lines and paths to those in view, in the
wish, and in what earlier turns found; names, values and texts to pieces of the wish (`pieces`): a small model copies
them, and invents none. A tool that has nothing to act on is left out, so a wish about a symbol that is not in view can
only be looked up, or declined. Needs no library to be made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from msgspec.structs import FieldInfo, fields

from completion.refactor import pieces
from completion.refactor.allowed import Allowed, Barred, Presence
from completion.refactor.calls import (
    ACTING,
    LOOKING,
    AddDocstring,
    AddTypes,
    Call,
    ChangeKind,
    ChangeSignature,
    Decline,
    Definition,
    Edit,
    ExtractVariable,
    FilePath,
    FindSymbol,
    Identifier,
    Inline,
    Move,
    References,
    Rename,
    Rewrite,
    SymbolName,
)
from completion.refactor.layout import enclosing
from completion.refactor.schema import name_of
from completion.refactor.targets import LOCAL, PARAMETER, Target, names_said
from completion.refactor.wish import Wish

MOST_CALLS = 8
_SYMBOL = re.compile(r"[\w./\\-]+::[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_LOCAL = re.compile(r"(?<![\w.])[^\W\d]\w*")
_FITS: dict[type[Call], Callable[[Target], bool]] = {
    Move: lambda target: "." not in target.name.rpartition("::")[2] and target.kind not in (LOCAL, PARAMETER),
    Rename: lambda target: not target.aside,
    Inline: lambda target: not target.aside and target.kind not in ("class", "type", "field", PARAMETER),
    ChangeSignature: lambda target: target.kind in ("function", "method", "") or target.parameters is not None,
    AddTypes: lambda target: target.kind in ("function", "method", ""),
    AddDocstring: lambda target: target.kind not in (LOCAL, PARAMETER, "constant", "field"),
}
"""Which symbols a tool can act on, where not any."""
_FILLED = r'/"([^"\\\x00-\x1f]|\\["\\\/bfnrt]|\\u[0-9a-fA-F]{4})+"/'


def answer_grammar(wish: Wish, *, barred: Iterable[Barred] = ()) -> str:
    """One decline, or up to eight calls that all act or all look, each on a line of its own, without what is barred."""
    made = _Rules(Allowed(wish, frozenset(barred)))
    tools = [tool for tool in (*ACTING, *LOOKING) if tool is not Decline]
    rules = {tool: rule for tool in tools if (rule := _rule(tool, made)) is not None}
    groups = {"act": [tool for tool in rules if tool in ACTING], "look": [tool for tool in rules if tool in LOOKING]}
    starts = [] if Barred(Decline) in made.allowed.barred else ["decline"]
    lines = ['decline: "decline {\\"reason\\":" FILLED "}"', *rules.values()]
    for group, members in groups.items():
        first = [name_of(tool) for tool in members if Barred(tool) not in made.allowed.barred]
        if first:
            starts.append(f'({" | ".join(first)}) ("\\n" {group}){{0,{MOST_CALLS - 1}}}')
            lines.append(f"{group}: {' | '.join(map(name_of, members))}")
    terminals = [f"{name}: {text}" for name, text in made.terminals.items()]
    return "\n".join([f"start: {' | '.join(starts)}", *lines, *terminals]) + "\n"


def symbols(wish: Wish) -> tuple[str, ...]:
    """The symbols that exist for all that is known: those of the outline, names in the selection as members of what
    holds it, and what the tools found, by their paths."""
    view, holder = wish.view, enclosing(wish.view)
    prefix = f"{holder.name}." if holder is not None and holder.kind in ("function", "method") else ""
    local = [f"{prefix}{name}" for name in _LOCAL.findall(view.selected)] if prefix else []
    found = [match for turn in wish.turns for result in turn.results for match in _SYMBOL.findall(result)]
    return tuple(dict.fromkeys([*(symbol.name for symbol in view.outline), *local, *found]))


@dataclass
class _Rules:
    """The rules of one wish's answers as they are made: what is allowed, and the terminals that were used."""

    allowed: Allowed
    terminals: dict[str, str] = field(default_factory=lambda: {"FILLED": _FILLED})

    def any(self, tool: type[Call], name: str, values: Iterable[str]) -> str | None:
        """One of the texts that are not barred, as JSON; None where there are none."""
        quoted = [_json(value) for value in self.allowed.rest(tool, name, values)]
        return f"({' | '.join(quoted)})" if quoted else None

    def number(self, tool: type[Call], name: str, values: Iterable[int]) -> str | None:
        """One of the numbers that are not barred."""
        found = [_quoted(str(value)) for value in self.allowed.rest(tool, name, values)]
        return f"({' | '.join(found)})" if found else None

    def said(self, tool: type[Call], name: str) -> str | None:
        """A piece of the wish."""
        said = self.allowed.wish.instruction
        if not said.strip():
            return None
        # The quotes belong to the terminal: a lexer could not tell the two apart.
        self.terminals |= {"SAID": _substring(said), "TEXT": r'"\"" SAID "\""'}
        return self._without("TEXT", tool, name)

    def selected(self, tool: type[Call], name: str) -> str | None:
        """A piece of the selected code: of what the wish shares with it, if anything."""
        selected = self.allowed.wish.view.selected
        if not selected.strip():
            return None
        common = pieces.shared(selected, self.allowed.wish.instruction) or (selected,)
        self.terminals |= {f"COMMON{number}": _substring(piece) for number, piece in enumerate(common)}
        self.terminals["SELECTED"] = " | ".join(f"COMMON{number}" for number in range(len(common)))
        self.terminals["CODE"] = r'"\"" (SELECTED & /(.|\n)+/) "\""'
        return self._without("CODE", tool, name)

    def pair(self, tool: type[Call], name: str, value: str | None) -> str:
        """An argument that may be left out, with what follows the one before it; "" where there is none to give."""
        if value is None or Barred(tool, name, Presence.GIVEN) in self.allowed.barred:
            return ""
        pair = f"{_key(name)} {value}"
        return f" {pair}" if Barred(tool, name, Presence.LEFT_OUT) in self.allowed.barred else f" ({pair})?"

    def _without(self, terminal: str, tool: type[Call], name: str) -> str:
        """The terminal, or one of its own for an argument that may not have some of its texts."""
        barred = [one.value for one in self.allowed.barred if (one.tool, one.field) == (tool, name)]
        if not (texts := sorted(json.dumps(text, ensure_ascii=False) for text in barred if isinstance(text, str))):
            return terminal
        own = f"{terminal}_{name_of(tool)}_{name}".upper()
        self.terminals[own] = f"{terminal} & ~({' | '.join(map(_quoted, texts))})"
        return own


def _rule(tool: type[Call], made: _Rules) -> str | None:
    """The rule of a tool; None where what it needs is not there."""
    if tool in _OWN_RULES:
        body = _OWN_RULES[tool](made)
    else:
        values = [(field, _value(tool, field, made)) for field in fields(tool)]
        if any(value is None and field.required for field, value in values):
            return None
        body = ""
        for field, value in values:
            if field.required:
                body += f" {_key(field.name, first=not body)} {value}"
            else:
                body += made.pair(tool, field.name, value)
    return None if body is None else f"{name_of(tool)}: {_quoted(f'{name_of(tool)} {{')} {body} " + '"}"'


def _value(tool: type[Call], field: FieldInfo, made: _Rules) -> str | None:
    """What a field may be; None for nothing."""
    hint, allowed, name = _hint(tool, field), made.allowed, field.name
    if tool is FindSymbol:
        seen = filter(allowed.is_seen, names_said(allowed.wish.instruction))
        return made.any(tool, name, [*allowed.sought, *seen])
    if tool in (References, Definition):
        return made.any(tool, name, [*(target.name for target in allowed.targets), *allowed.sought])
    if hint == SymbolName:
        fits = _FITS.get(tool)
        return made.any(tool, name, (target.name for target in allowed.targets if fits is None or fits(target)))
    if (tool, name) in ((ExtractVariable, "expression"), (Edit, "old")):
        return made.selected(tool, name) or ("FILLED" if tool is Edit else None)
    if hint == Identifier:
        return made.any(tool, name, allowed.names)
    if name in ("first_line", "last_line"):
        return made.number(tool, name, allowed.lines)
    if tool is ExtractVariable:
        return made.any(tool, name, allowed.paths) if hint == FilePath else made.number(tool, name, allowed.inside)
    if name == "after_line":
        return made.number(tool, name, allowed.ends)
    if name == "path":
        found = made.any(tool, name, allowed.paths if field.required else allowed.places)
        return found or ("FILLED" if field.required else None)
    text = made.said(tool, name)
    if tool is Rewrite and text is not None:
        calls = made.any(tool, name, (f"{name}($$$ARGS)" for name in names_said(allowed.wish.instruction)))
        return f"({text} | {calls})" if calls else text
    return text


def _rename(made: _Rules) -> str | None:
    """Each symbol with the names that it can get."""
    rows = []
    for target in filter(_FITS[Rename], made.allowed.targets):
        taken = target.taken | {target.short}
        names = made.any(Rename, "new_name", (name for name in made.allowed.names if name not in taken))
        if names and (symbol := made.any(Rename, "symbol", [target.name])):
            rows.append(f"{symbol} {_key('new_name')} {names}")
    return f"{_key('symbol', first=True)} ({' | '.join(rows)})" if rows else None


def _move(made: _Rules) -> str | None:
    """A symbol at a file's top level or a file, to a path that the wish says."""
    fits = _FITS[Move]
    sources = [*(target.name for target in made.allowed.targets if fits(target)), *made.allowed.paths]
    rows = []
    for path in made.allowed.rest(Move, "to_path", made.allowed.destinations):
        if source := made.any(Move, "source", (one for one in sources if one != path)):
            rows.append(f"{source} {_key('to_path')} {_json(path)}")
    return f"{_key('source', first=True)} ({' | '.join(rows)})" if rows else None


def _change_signature(made: _Rules) -> str | None:
    """Each function with changes of its own parameters."""
    fits = _FITS[ChangeSignature]
    rows = []
    for target in made.allowed.targets:
        symbol = made.any(ChangeSignature, "symbol", [target.name])
        if symbol and fits(target) and (change := " | ".join(_changes(target, made))):
            rows.append(f'{symbol} {_key("changes")} "[" ({change}) ("," ({change}))* "]"')
    return f"{_key('symbol', first=True)} ({' | '.join(rows)})" if rows else None


def _changes(target: Target, made: _Rules) -> list[str]:
    """The changes of one parameter; all but a new one are of a parameter that exists, and that the wish names."""
    said, own = set(pieces.words(made.allowed.wish.instruction)), target.parameters
    if own is None:  # of another file: what the tools found names them
        found = " ".join(result for turn in made.allowed.wish.turns for result in turn.results)
        existing = [name for name in dict.fromkeys(_LOCAL.findall(found)) if name in said]
        places = tuple(range(10))
    else:
        existing = [name for name in own if name in said]
        places = tuple(range(len(own) + 1))

    def any_of(name: str, values: Iterable[str]) -> str | None:
        return made.any(ChangeSignature, name, values)

    rows: dict[ChangeKind, list[str | None]] = {}
    value = any_of("default", made.allowed.default)
    names = [name for name in made.allowed.names if own is None or name not in own]
    add = made.pair(ChangeSignature, "position", made.number(ChangeSignature, "position", places))
    rows[ChangeKind.ADD] = [any_of("parameter", names), _key("default"), value, add]
    parameter = any_of("parameter", existing)
    rows[ChangeKind.REMOVE] = [parameter]
    rows[ChangeKind.DEFAULT] = [parameter, _key("default"), value]
    rows[ChangeKind.RENAME] = [parameter, _key("new_name"), any_of("new_name", names)]
    every = list(rows.items())
    for name in existing:
        to = [place for place in (places[:-1] or places) if own is None or place != own.index(name)]
        position = made.number(ChangeSignature, "position", to)
        every.append((ChangeKind.MOVE, [any_of("parameter", [name]), _key("position"), position]))
    kinds = made.allowed.rest(ChangeSignature, "change", ChangeKind)
    heads = {kind: _quoted(f'{{"change":"{kind}","parameter":') for kind in kinds}
    whole = [(kind, parts) for kind, parts in every if kind in kinds and None not in parts]
    return [f'{heads[kind]} {" ".join(map(str, parts))} "}}"' for kind, parts in whole]


_OWN_RULES: dict[type[Call], Callable[[_Rules], str | None]] = {
    Rename: _rename,
    ChangeSignature: _change_signature,
    Move: _move,
}
"""The tools whose arguments depend on each other."""


def _hint(tool: type[Call], field: FieldInfo) -> Any:
    return field_types(tool)[field.name]


@cache
def field_types(tool: type[Call]) -> dict[str, Any]:
    """The types of a tool's fields, as `calls` writes them."""
    return get_type_hints(tool, include_extras=True)


def _key(name: str, *, first: bool = False) -> str:
    return _quoted(f'{"" if first else ","}"{name}":')


def _json(value: str) -> str:
    return _quoted(json.dumps(value, ensure_ascii=False))


def _substring(text: str) -> str:
    return f"%regex {json.dumps({'substring_chunks': pieces.chunks(text)}, ensure_ascii=False)}"


def _quoted(text: str) -> str:
    """A Lark string."""
    return json.dumps(text, ensure_ascii=False)
