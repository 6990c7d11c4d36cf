"""Parts of wishes on a scene, made of what stands there.

One function for each kind of wish. Each gives None where the scene has nothing for its kind.
"""

from __future__ import annotations

import posixpath
import random
import re

from msgspec import UNSET

from completion.refactor.calls import (
    AddDocstring,
    AddTypes,
    AnyCall,
    ChangeKind,
    ChangeSignature,
    Definition,
    Diagnostics,
    Edit,
    ExtractFunction,
    ExtractVariable,
    FindSymbol,
    Generate,
    Inline,
    Move,
    OrganizeImports,
    Outline,
    ParameterChange,
    References,
    Rename,
    Rewrite,
    Search,
)
from completion.refactor.layout import enclosing, parameter_names
from completion.refactor.training.scene import Scene, is_function
from completion.refactor.training.speaker import Maker, Part, Speaker, pick
from completion.refactor.wish import Symbol

_LOCAL = re.compile(r"^\s+(?:const |let |var )?([a-z_]\w{2,20})\s*=\s*[^=\s]")
_CALL = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)*\([^()\n]{0,30}\)|(?<![\w.])[a-z_]\w*(?:\.\w+){1,2}(?![\w(])")
_CALLEE = re.compile(r"(?<![\w.@])(?!def\b|class\b|function\b)([A-Za-z_]\w*(?:\.\w+){0,2})\((?=[^)\s])")
_LITERAL = re.compile(r"\"[^\"'\\\n]{2,24}\"|'[^\"'\\\n]{2,24}'")
_DEFAULTS = {
    "python": ("None", "0", "1", "True", "False", '""', "[]", "10", "100", "'utf-8'", "3.0", "()", "-1", '"auto"'),
    "": ("null", "0", "1", "true", "false", '""', "[]", "10", "100", "'utf-8'", "3.5", "{}", "-1", '"auto"'),
}


def rename(scene: Scene, me: Speaker) -> Part | None:
    symbol = me.rng.choice(scene.outline)
    new = me.names.like(symbol.name.rpartition(".")[2], me.rng)
    if any(one.name.rpartition(".")[2] == new for one in scene.outline):
        return None
    said, place = me.refer(scene, symbol)
    words = me.say("rename", symbol=said, new=me.book.quote(new, me.rng))
    return Part(words, (Rename(symbol=symbol.name, new_name=new),), place)


def local_of(scene: Scene, rng: random.Random) -> tuple[Symbol, str, int] | None:
    """A variable inside a function: the function, the name and a line that assigns it."""
    symbol = pick(scene.functions(least_lines=3), rng)
    if symbol is None:
        return None
    known = {*parameter_names(symbol), "self", "cls"}
    rows = [
        (match[1], number)
        for number in range(symbol.first_line + 1, symbol.last_line + 1)
        if (match := _LOCAL.match(scene.lines[number - 1])) and match[1] not in known
    ]
    places = [row for row in rows if enclosing(scene.view(row[1])) == symbol]
    return (symbol, *rng.choice(places)) if places else None


def rename_local(scene: Scene, me: Speaker) -> Part | None:
    found = local_of(scene, me.rng)
    if found is None:
        return None
    symbol, name, line = found
    new = me.names.like(name, me.rng)
    if any(re.search(rf"\b{new}\b", row) for row in scene.lines[symbol.first_line - 1 : symbol.last_line]):
        return None
    words = me.say("rename_local", local=me.book.quote(name, me.rng), new=me.book.quote(new, me.rng))
    return Part(words, (Rename(symbol=f"{symbol.name}.{name}", new_name=new),), _around(symbol, line, me.rng))


def _around(symbol: Symbol, line: int, rng: random.Random) -> tuple[int, int]:
    return max(symbol.first_line, line - rng.choice((0, 0, 1, 2))), min(symbol.last_line, line + rng.choice((0, 1, 2)))


def other_path(scene: Scene, me: Speaker) -> str:
    """Where something may be moved to."""
    folder, extension = posixpath.dirname(scene.path), posixpath.splitext(scene.path)[1]
    stem = me.names.of("snake", me.rng).strip("_")
    folder = me.rng.choice((folder, folder, posixpath.join(folder, me.names.of("snake", me.rng).strip("_")), "lib"))
    return posixpath.join(folder, stem + extension)


def move_symbol(scene: Scene, me: Speaker) -> Part | None:
    symbol = pick([one for one in scene.outline if "." not in one.name], me.rng)
    if symbol is None:
        return None
    to_path = other_path(scene, me)
    said, place = me.refer(scene, symbol)
    words = me.say("move_symbol", symbol=said, to=me.book.quote(to_path, me.rng))
    return Part(words, (Move(source=symbol.name, to_path=to_path),), place)


def file_words(scene: Scene, me: Speaker) -> str:
    """The file in view, in words."""
    name = me.book.quote(me.rng.choice((scene.path, posixpath.basename(scene.path))), me.rng)
    return me.rng.choice((name, *me.book.here["file"]))


def move_module(scene: Scene, me: Speaker) -> Part | None:
    to_path = other_path(scene, me)
    words = me.say("move_module", file=file_words(scene, me), to=me.book.quote(to_path, me.rng))
    return Part(words, (Move(source=scene.path, to_path=to_path),))


def some_lines(scene: Scene, rng: random.Random) -> tuple[int, int] | None:
    """Some whole lines inside a function."""
    symbol = pick(scene.functions(least_lines=4), rng)
    if symbol is None:
        return None
    first = rng.randint(symbol.first_line + 1, symbol.last_line - 1)
    last = min(symbol.last_line, first + rng.choice((0, 1, 1, 2, 2, 3, 4, 5, 8, 12)))
    return (first, last) if scene.lines[first - 1].strip() and scene.lines[last - 1].strip() else None


def new_function_name(scene: Scene, me: Speaker) -> str:
    """In the style of the language."""
    return me.names.of("snake" if scene.source.language == "python" else "camel", me.rng)


def extract_function(scene: Scene, me: Speaker) -> Part | None:
    lines = some_lines(scene, me.rng)
    if lines is None:
        return None
    new = new_function_name(scene, me)
    call = ExtractFunction(path=scene.path, first_line=lines[0], last_line=lines[1], new_name=new)
    name = me.book.quote(new, me.rng)
    if me.rng.random() < 0.3:
        words = me.say("extract_function_lines", first=str(lines[0]), last=str(lines[1]), new=name)
        return Part(words, (call,), lines if me.rng.random() < 0.3 else None)
    words = me.say("extract_function", lines=me.rng.choice(me.book.lines), new=name)
    return Part(words, (call,), lines)


def extract_variable(scene: Scene, me: Speaker) -> Part | None:
    lines = some_lines(scene, me.rng)
    if lines is None:
        return None
    first, last = lines[0], min(lines[1], lines[0] + me.rng.choice((0, 0, 1, 2)))
    rows = [
        (number, expression)
        for number in range(first, last + 1)
        for expression in _CALL.findall(scene.lines[number - 1])
        if len(expression) > 4
    ]
    if not rows:
        return None
    line, expression = me.rng.choice(rows)
    if sum(scene.lines[number - 1].count(expression) for number in range(first, last + 1)) != 1:
        return None
    new = new_function_name(scene, me)
    words = me.say("extract_variable", expression=me.book.quote(expression, me.rng), new=me.book.quote(new, me.rng))
    call = ExtractVariable(path=scene.path, line=line, expression=expression, new_name=new)
    return Part(words, (call,), (first, last))


def inline(scene: Scene, me: Speaker) -> Part | None:
    if me.rng.random() < 0.5 and (found := local_of(scene, me.rng)) is not None:
        symbol, name, line = found
        words = me.say("inline_local", local=me.book.quote(name, me.rng))
        return Part(words, (Inline(symbol=f"{symbol.name}.{name}"),), _around(symbol, line, me.rng))
    target = pick([one for one in scene.outline if one.kind in ("function", "method", "constant")], me.rng)
    if target is None:
        return None
    said, place = me.refer(scene, target)
    return Part(me.say("inline", symbol=said), (Inline(symbol=target.name),), place)


def _default(scene: Scene, rng: random.Random) -> str:
    return rng.choice(_DEFAULTS.get(scene.source.language, _DEFAULTS[""]))


def add_parameter(scene: Scene, me: Speaker) -> Part | None:
    symbol = pick(scene.functions(), me.rng)
    if symbol is None:
        return None
    name = me.names.of("snake" if scene.source.language == "python" else "camel", me.rng).strip("_")
    if name in parameter_names(symbol):
        return None
    said, place = me.refer(scene, symbol)
    slots = {"symbol": said, "parameter": me.book.quote(name, me.rng)}
    style = me.rng.choice(("add_parameter", "add_parameter", "add_parameter_plain", "add_parameter_first"))
    default = _default(scene, me.rng)
    if style == "add_parameter_plain":
        default = _DEFAULTS.get(scene.source.language, _DEFAULTS[""])[0]
    first = style == "add_parameter_first"
    position = 0 if first else UNSET
    change = ParameterChange(change=ChangeKind.ADD, parameter=name, default=default, position=position)
    words = me.say(style, **slots, **({} if style == "add_parameter_plain" else {"default": default}))
    return Part(words, (ChangeSignature(symbol=symbol.name, changes=(change,)),), place)


def _with_parameters(scene: Scene, least: int) -> list[Symbol]:
    return [one for one in scene.outline if is_function(one) and len(parameter_names(one)) >= least]


def change_parameter(scene: Scene, me: Speaker) -> Part | None:
    style = me.rng.choice(("remove", "remove", "rename", "rename", "default", "first", "last", "remove_two"))
    symbol = pick(_with_parameters(scene, 1 if style in ("remove", "rename", "default") else 2), me.rng)
    if symbol is None:
        return None
    names = parameter_names(symbol)
    name = me.rng.choice(names[1:] if style == "first" else names[:-1] if style == "last" else names)
    said, place = me.refer(scene, symbol)
    slots = {"symbol": said, "parameter": me.book.quote(name, me.rng)}
    changes: tuple[ParameterChange, ...]
    if style == "remove":
        changes = (ParameterChange(change=ChangeKind.REMOVE, parameter=name),)
    elif style == "remove_two":
        two = me.rng.sample(names, 2)
        changes = tuple(ParameterChange(change=ChangeKind.REMOVE, parameter=one) for one in two)
        slots |= {"parameter": me.book.quote(two[0], me.rng), "other": me.book.quote(two[1], me.rng)}
    elif style == "rename":
        new = me.names.like(name, me.rng)
        changes = (ParameterChange(change=ChangeKind.RENAME, parameter=name, new_name=new),)
        slots["new"] = me.book.quote(new, me.rng)
    elif style == "default":
        slots["default"] = _default(scene, me.rng)
        changes = (ParameterChange(change=ChangeKind.DEFAULT, parameter=name, default=slots["default"]),)
    else:
        position = 0 if style == "first" else len(names) - 1
        changes = (ParameterChange(change=ChangeKind.MOVE, parameter=name, position=position),)
    words = me.say(f"parameter_{style}", **slots)
    return Part(words, (ChangeSignature(symbol=symbol.name, changes=changes),), place)


def rewrite(scene: Scene, me: Speaker) -> Part | None:
    callees = [name for name in _CALLEE.findall(scene.source.text[:20000]) if len(name) < 30]
    if not callees:
        return None
    old, style = me.rng.choice(callees), me.rng.random()
    new = me.names.like(old.rpartition(".")[2], me.rng)
    new = me.rng.choice((new, f"{old.rpartition('.')[0]}.{new}".lstrip("."), f"{me.names.of('snake', me.rng)}.{new}"))
    local = me.rng.random() < 0.3
    where = " " + me.rng.choice(me.book.here["in file"]) if local else ""
    path = {"path": scene.path} if local else {}
    if style < 0.5:
        words = me.say("rewrite_call", old=me.book.quote(old, me.rng), new=me.book.quote(new, me.rng))
        call = Rewrite(pattern=f"{old}($$$ARGS)", replacement=f"{new}($$$ARGS)", **path)
        return Part(words + where, (call,))
    a, b = me.rng.choice((("$A", "$B"), ("$X", "$Y"), ("$KEY", "$VALUE")))
    pattern, replacement = me.rng.choice(
        (
            (f"{old}({a})", f"{new}({a})"),
            (f"{old}({a}, {b})", f"{new}({b}, {a})"),
            (f"{old}({a}, {b})", f"{a}.{new}({b})"),
            (f"{a}.{old.rpartition('.')[2]}({b})", f"{new}({a}, {b})"),
            (f"{a}.{old.rpartition('.')[2]}()", f"{new}({a})"),
            (f"{old}({a}) == {b}", f"{new}({a}) is {b}"),
        )
    )
    words = me.say("rewrite", old=me.book.quote(pattern, me.rng), new=me.book.quote(replacement, me.rng))
    return Part(words + where, (Rewrite(pattern=pattern, replacement=replacement, **path),))


def organize_imports(scene: Scene, me: Speaker) -> Part | None:
    return Part(me.say("organize_imports", file=file_words(scene, me)), (OrganizeImports(path=scene.path),))


def add_types(scene: Scene, me: Speaker) -> Part | None:
    symbol = pick(scene.functions(), me.rng)
    if symbol is None:
        return None
    said, place = me.refer(scene, symbol)
    return Part(me.say("add_types", symbol=said), (AddTypes(symbol=symbol.name),), place)


def add_docstring(scene: Scene, me: Speaker) -> Part | None:
    symbol = pick([one for one in scene.outline if one.kind in ("function", "method", "class")], me.rng)
    if symbol is None:
        return None
    said, place = me.refer(scene, symbol)
    if me.rng.random() < 0.35:
        text = _sentence(me)
        words = me.say("add_docstring_text", symbol=said, text=text)
        return Part(words, (AddDocstring(symbol=symbol.name, text=text),), place)
    return Part(me.say("add_docstring", symbol=said), (AddDocstring(symbol=symbol.name),), place)


def thing(me: Speaker) -> str:
    """What is to be written, in words."""
    template = me.rng.choice(me.book.things)
    for slot in ("{a}", "{b}"):
        template = template.replace(slot, me.names.of("snake", me.rng).strip("_").replace("_", " "), 1)
    return template.replace("{name}", me.names.of("snake", me.rng))


def _sentence(me: Speaker) -> str:
    return thing(me).replace("a function that ", "").replace("a method that ", "").capitalize() + "."


def generate(scene: Scene, me: Speaker) -> Part | None:
    what = thing(me)
    if me.rng.random() < 0.4 and (lines := some_lines(scene, me.rng)) is not None:
        words = me.say("generate_here", thing=what)
        return Part(words, (Generate(path=scene.path, after_line=lines[1], instruction=what),), lines)
    symbol = me.rng.choice(scene.outline)
    said, place = me.refer(scene, symbol)
    call = Generate(path=scene.path, after_line=symbol.last_line, instruction=what)
    return Part(me.say("generate", thing=what, symbol=said), (call,), place)


def edit(scene: Scene, me: Speaker) -> Part | None:
    symbol = pick(scene.functions(least_lines=2), me.rng)
    if symbol is None:
        return None
    rows = [
        (number, literal)
        for number in range(symbol.first_line, min(symbol.last_line, symbol.first_line + 40) + 1)
        for literal in _LITERAL.findall(scene.lines[number - 1])
        if scene.source.text.count(literal) == 1
    ]
    if not rows:
        return None
    line, old = me.rng.choice(rows)
    new = old[0] + me.names.of(me.rng.choice(("snake", "class", "camel")), me.rng) + old[0]
    words = me.say("edit", old=old, new=new)
    return Part(words, (Edit(path=scene.path, old=old, new=new),), _around(symbol, line, me.rng))


def look(scene: Scene, me: Speaker) -> Part | None:
    kind = me.rng.choice(("find_symbol", "references", "definition", "outline", "search", "diagnostics"))
    if kind in ("outline", "diagnostics"):
        call: AnyCall = Outline(path=scene.path) if kind == "outline" else Diagnostics(path=scene.path)
        return Part(me.say(kind, file=file_words(scene, me)), (call,))
    name = me.names.of(me.rng.choice(("snake", "class", "camel", "constant")), me.rng)
    if kind == "search":
        text = me.rng.choice((name, *me.book.here["texts"]))
        return Part(me.say(kind, text=text if text != name else me.book.quote(name, me.rng)), (Search(text=text),))
    if kind != "find_symbol" and me.rng.random() < 0.7:
        symbol = me.rng.choice(scene.outline)
        said, place = me.refer(scene, symbol)
        return Part(me.say(kind, symbol=said), (_asked(kind, symbol.name),), place)
    return Part(me.say(kind, symbol=me.book.quote(name, me.rng)), (_asked(kind, name),))


def _asked(kind: str, symbol: str) -> AnyCall:
    if kind == "references":
        return References(symbol=symbol)
    return Definition(symbol=symbol) if kind == "definition" else FindSymbol(symbol=symbol)


ACTS: dict[str, tuple[int, Maker]] = {
    "rename": (15, rename),
    "rename_local": (6, rename_local),
    "move_symbol": (5, move_symbol),
    "move_module": (2, move_module),
    "extract_function": (8, extract_function),
    "extract_variable": (9, extract_variable),
    "inline": (9, inline),
    "add_parameter": (11, add_parameter),
    "change_parameter": (17, change_parameter),
    "rewrite": (7, rewrite),
    "organize_imports": (2, organize_imports),
    "add_types": (4, add_types),
    "add_docstring": (6, add_docstring),
    "generate": (7, generate),
    "edit": (9, edit),
    "look": (8, look),
}
"""Kinds of parts with their shares."""

SYMBOL_ACTS: dict[str, Maker] = {
    "rename": rename,
    "move_symbol": move_symbol,
    "inline": inline,
    "add_parameter": add_parameter,
    "change_parameter": change_parameter,
    "add_types": add_types,
    "add_docstring": add_docstring,
}
"""Those that are about one symbol, which may be out of view."""
