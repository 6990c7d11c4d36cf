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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import PurePosixPath
from typing import Any, get_type_hints

from msgspec.structs import FieldInfo, fields

from completion.refactor import pieces
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
from completion.refactor.targets import LOCAL, Target, is_named, names_said, targets
from completion.refactor.wish import Wish

MOST_CALLS = 8
_SYMBOL = re.compile(r"[\w./\\-]+::[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_NAME = re.compile(r"[^\W\d][\w./:-]*\w")
_LOCAL = re.compile(r"(?<![\w.])[^\W\d]\w*")
_LINES = re.compile(r"\blines \d+-(\d+)")
_FITS: dict[type[Call], Callable[[Target], bool]] = {
    Move: lambda target: "." not in target.name.rpartition("::")[2] and target.kind != LOCAL,
    Inline: lambda target: target.kind not in ("class", "type", "field"),
    ChangeSignature: lambda target: target.kind in ("function", "method", ""),
    AddTypes: lambda target: target.kind in ("function", "method", ""),
    AddDocstring: lambda target: target.kind not in (LOCAL, "constant", "field"),
}
"""Which symbols a tool can act on, where not any."""
_TERMINALS = r"""
FILLED: /"([^"\\\x00-\x1f]|\\["\\\/bfnrt]|\\u[0-9a-fA-F]{4})+"/
"""


def answer_grammar(wish: Wish, *, barred: Sequence[type[Call]] = ()) -> str:
    """One decline, or up to eight calls that all act or all look, each on a line of its own. The first is of none of
    the tools `barred`."""
    words = _Words(wish)
    tools = [tool for tool in (*ACTING, *LOOKING) if tool is not Decline]
    rules = {tool: rule for tool in tools if (rule := _rule(tool, words)) is not None}
    groups = {"act": [tool for tool in rules if tool in ACTING], "look": [tool for tool in rules if tool in LOOKING]}
    starts = [] if Decline in barred else ["decline"]
    lines = ['decline: "decline {\\"reason\\":" FILLED "}"', *rules.values(), *words.texts(), _TERMINALS.strip()]
    for group, members in groups.items():
        first = [name_of(tool) for tool in members if tool not in barred]
        if first:
            starts.append(f'({" | ".join(first)}) ("\\n" {group}){{0,{MOST_CALLS - 1}}}')
            lines.append(f"{group}: {' | '.join(map(name_of, members))}")
    return "\n".join([f"start: {' | '.join(starts)}", *lines]) + "\n"


def symbols(wish: Wish) -> tuple[str, ...]:
    """The symbols that exist for all that is known: those of the outline, names in the selection as members of what
    holds it, and what the tools found, by their paths."""
    view, holder = wish.view, enclosing(wish.view)
    prefix = f"{holder.name}." if holder is not None and holder.kind in ("function", "method") else ""
    local = [f"{prefix}{name}" for name in _LOCAL.findall(view.selected)] if prefix else []
    found = [match for turn in wish.turns for result in turn.results for match in _SYMBOL.findall(result)]
    return tuple(dict.fromkeys([*(symbol.name for symbol in view.outline), *local, *found]))


def known_paths(wish: Wish) -> tuple[str, ...]:
    """The paths that a call may name as existing: in view, in the wish, and in what the tools found."""
    found = [match for turn in wish.turns for result in turn.results for match in pieces.paths(result)]
    view = [wish.view.path, *(symbol.path for symbol in wish.view.outline)]
    return tuple(dict.fromkeys(path for path in (*view, *pieces.paths(wish.instruction), *found) if path))


@dataclass(frozen=True)
class _Words:
    """What the arguments of one wish's calls are made of: lists of what is allowed."""

    wish: Wish

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        return targets(self.wish)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Files that exist, the one in view by its whole path alone."""
        own = self.wish.view.path
        return tuple(path for path in known_paths(self.wish) if path == own or not own.endswith(f"/{path}"))

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Those files and their folders."""
        folders = [str(folder) for path in self.paths for folder in PurePosixPath(path).parents if str(folder) != "."]
        return tuple(dict.fromkeys([*self.paths, *folders]))

    @cached_property
    def destinations(self) -> tuple[str, ...]:
        """Where something may be moved to: paths that the wish says."""
        return tuple(path for path in pieces.paths(self.wish.instruction) if path != self.wish.view.path)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What may be a new name."""
        return pieces.free_words(self.wish.instruction)

    @cached_property
    def sought(self) -> tuple[str, ...]:
        """Names that a wish may ask about, without those of which it is known where they are."""
        said = (*_NAME.findall(self.wish.instruction), *pieces.words(self.wish.instruction))
        seen = [target for target in targets(replace(self.wish, turns=())) if target.kind != LOCAL]
        return tuple(name for name in dict.fromkeys(said) if not any(is_named(target, (name,)) for target in seen))

    @cached_property
    def default(self) -> tuple[str, ...]:
        """What may be a default: a piece of the wish, or nothing in the language's own words."""
        language = self.wish.view.language
        nothing = ("None",) if language == "python" else ("null",) if language else ("None", "null")
        return tuple(dict.fromkeys([*pieces.values(self.wish.instruction), *nothing]))

    @cached_property
    def lines(self) -> tuple[int, ...]:
        """Where lines to extract begin and end."""
        view = self.wish.view
        selected = [] if view.first_line is None else [view.first_line, view.last_line or view.first_line]
        return tuple(dict.fromkeys(n for n in (*selected, *pieces.numbers(self.wish.instruction)) if n > 0))

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Lines after which code may go: the file's start, the ends of symbols and of the selection, those said."""
        view = self.wish.view
        names = {target.name for target in self.targets}
        ends = [symbol.last_line for symbol in view.outline if symbol.name in names]
        ends += [int(end) for turn in self.wish.turns for result in turn.results for end in _LINES.findall(result)]
        selected = [] if view.first_line is None else [view.last_line or view.first_line]
        return tuple(dict.fromkeys([0, *ends, *selected, *pieces.numbers(self.wish.instruction)]))

    def texts(self) -> list[str]:
        """The terminals that are pieces of a text, with their quotes: a lexer could not tell these apart."""
        said, selected = self.wish.instruction, self.wish.view.selected
        rules = []
        if said.strip():
            rules += [f"SAID: {_substring(said)}", r'TEXT: "\"" SAID "\""']
        if selected.strip():
            common = pieces.shared(selected, said) or (selected,)
            rules += [f"COMMON{number}: {_substring(piece)}" for number, piece in enumerate(common)]
            both = " | ".join(f"COMMON{number}" for number in range(len(common)))
            rules += [f"SELECTED: {both}", r'CODE: "\"" (SELECTED & /(.|\n)+/) "\""']
        return rules


def _rule(tool: type[Call], words: _Words) -> str | None:
    """The rule of a tool; None where what it needs is not there."""
    body: str | None
    if tool in _OWN_RULES:
        body = _OWN_RULES[tool](words)
    else:
        values = [(field, _value(tool, field, words)) for field in fields(tool)]
        if any(value is None and field.required for field, value in values):
            return None
        body = ""
        for field, value in values:
            if value is not None:
                pair = f"{_key(field.name, first=not body)} {value}"
                body += f" {pair}" if field.required else f" ({pair})?"
    return None if body is None else f"{name_of(tool)}: {_quoted(f'{name_of(tool)} {{')} {body} " + '"}"'


def _value(tool: type[Call], field: FieldInfo, words: _Words) -> str | None:
    """What a field may be; None for nothing."""
    hint, wish = _hint(tool, field), words.wish
    if tool is FindSymbol:
        return _any(words.sought)
    if tool in (References, Definition):
        return _any([*(target.name for target in words.targets), *words.sought])
    if hint == SymbolName:
        fits = _FITS.get(tool)
        return _any(target.name for target in words.targets if fits is None or fits(target))
    if (tool, field.name) in ((ExtractVariable, "expression"), (Edit, "old")):
        return "CODE" if wish.view.selected.strip() else ("FILLED" if tool is Edit else None)
    if hint == Identifier:
        return _any(words.names)
    if field.name in ("first_line", "last_line"):
        return _numbers(words.lines)
    if tool is ExtractVariable:
        view = wish.view
        inside = range(view.first_line, (view.last_line or view.first_line) + 1) if view.first_line else words.lines
        return _any(words.paths) if hint == FilePath else _numbers(inside)
    if field.name == "after_line":
        return _numbers(words.ends)
    if field.name == "path":
        return _any(words.paths if field.required else words.places) or ("FILLED" if field.required else None)
    if not wish.instruction.strip():
        return None
    if tool is Rewrite:
        calls = _any(f"{name}($$$ARGS)" for name in names_said(wish.instruction))
        return f"(TEXT | {calls})" if calls else "TEXT"
    return "TEXT"


def _rename(words: _Words) -> str | None:
    """Each symbol with the names that it can get."""
    rows = []
    for target in words.targets:
        barred = target.taken | {target.short}
        if names := _any(name for name in words.names if name not in barred):
            rows.append(f"{_json(target.name)} {_key('new_name')} {names}")
    return f"{_key('symbol', first=True)} ({' | '.join(rows)})" if rows else None


def _move(words: _Words) -> str | None:
    """A symbol at a file's top level or a file, to a path that the wish says."""
    fits = _FITS[Move]
    sources = [*(target.name for target in words.targets if fits(target)), *words.paths]
    rows = []
    for path in words.destinations:
        if source := _any(one for one in sources if one != path):
            rows.append(f"{source} {_key('to_path')} {_json(path)}")
    return f"{_key('source', first=True)} ({' | '.join(rows)})" if rows else None


def _change_signature(words: _Words) -> str | None:
    """Each function with changes of its own parameters."""
    fits = _FITS[ChangeSignature]
    said = set(pieces.words(words.wish.instruction))
    rows = []
    for target in words.targets:
        if fits(target) and (change := _change(target, said, words)):
            rows.append(f'{_json(target.name)} {_key("changes")} "[" ({change}) ("," ({change}))* "]"')
    return f"{_key('symbol', first=True)} ({' | '.join(rows)})" if rows else None


def _change(target: Target, said: set[str], words: _Words) -> str:
    """One change of one parameter; all but a new one are of a parameter that exists, and that the wish names."""
    own = target.parameters
    if own is None:  # of another file: what the tools found names them
        found = " ".join(result for turn in words.wish.turns for result in turn.results)
        existing = [name for name in dict.fromkeys(_LOCAL.findall(found)) if name in said]
        places = range(10)
    else:
        existing = [name for name in own if name in said]
        places = range(len(own) + 1)
    names = _any(name for name in words.names if own is None or name not in own)
    head = {kind: _quoted(f'{{"change":"{kind}","parameter":') for kind in ChangeKind}
    new_name, default, position = (_key(name) for name in ("new_name", "default", "position"))
    value = _any(words.default)
    rows = [f'{head[ChangeKind.ADD]} {names} {default} {value} ({position} {_numbers(places)})? "}}"'] if names else []
    if parameter := _any(existing):
        rows.append(f'{head[ChangeKind.REMOVE]} {parameter} "}}"')
        rows.append(f'{head[ChangeKind.DEFAULT]} {parameter} {default} {value} "}}"')
        rows.append(f'{head[ChangeKind.MOVE]} {parameter} {position} {_numbers(places[:-1] or places)} "}}"')
        if names:
            rows.append(f'{head[ChangeKind.RENAME]} {parameter} {new_name} {names} "}}"')
    return " | ".join(rows)


_OWN_RULES: dict[type[Call], Callable[[_Words], str | None]] = {
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


def _any(values: Iterable[str]) -> str | None:
    """One of these as JSON; None where there are none."""
    quoted = [_json(value) for value in dict.fromkeys(values)]
    return f"({' | '.join(quoted)})" if quoted else None


def _numbers(values: Iterable[int]) -> str | None:
    found = [_quoted(str(value)) for value in dict.fromkeys(values)]
    return f"({' | '.join(found)})" if found else None


def _key(name: str, *, first: bool = False) -> str:
    return _quoted(f'{"" if first else ","}"{name}":')


def _json(value: str) -> str:
    return _quoted(json.dumps(value, ensure_ascii=False))


def _substring(text: str) -> str:
    return f"%regex {json.dumps({'substring_chunks': pieces.chunks(text)}, ensure_ascii=False)}"


def _quoted(text: str) -> str:
    """A Lark string."""
    return json.dumps(text, ensure_ascii=False)
