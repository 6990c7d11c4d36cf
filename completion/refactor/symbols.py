"""The symbols of a file, by tree-sitter in every language, and which symbol a name means. Carries nothing out.

Broken code gives what can be told of it. What is not known: names that are made at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from completion.context.grammars import grammar
from completion.language import detect
from completion.refactor.overlay import Overlay
from completion.refactor.wish import Symbol
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

_CONTAINERS = frozenset({"class", "module", "scope"})
_SHOWN_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a symbol stands. Offsets count code points: its name, and its whole definition."""

    symbol: Symbol
    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text with its tree; `offset` turns the tree's bytes into code points, `byte` the other way round."""

    text: str
    source: bytes
    tree: Tree
    language: str

    def offset(self, byte: int) -> int:
        """The code point at a byte."""
        return byte if len(self.source) == len(self.text) else len(self.source[:byte].decode("utf-8", "replace"))

    def byte(self, offset: int) -> int:
        """The byte of a code point."""
        return offset if len(self.source) == len(self.text) else len(self.text[:offset].encode())


@lru_cache(maxsize=256)
def parse(text: str, language: str) -> Parsed | None:
    """The tree of a text; None for a language without a grammar."""
    found = grammar(language)
    if found is None:
        return None
    source = text.encode("utf-8", "replace")
    return Parsed(text, source, found.parser.parse(source), language)


def parse_file(overlay: Overlay, path: str) -> Parsed | None:
    """The tree of a file. Raises `RefusedError` where it cannot be read."""
    return parse(overlay.read(path), detect(path=path).id)


def outline(text: str, path: str) -> tuple[Symbol, ...]:
    """The symbols of a text, in the order of their lines: what `View.outline` holds."""
    return tuple(place.symbol for place in places(text, path))


@lru_cache(maxsize=512)
def places(text: str, path: str) -> tuple[Place, ...]:
    """Every definition of a text with its offsets; nothing for a language without a grammar."""
    from tree_sitter import QueryCursor

    parsed = parse(text, detect(path=path).id)
    found = grammar(detect(path=path).id)
    if parsed is None or found is None:
        return ()
    seen: dict[tuple[int, int], tuple[str, Node, Node, str]] = {}
    for _, captures in QueryCursor(found.query).matches(parsed.tree.root_node):
        for kind, nodes in captures.items():
            if kind in ("name", "body", "receiver", "import") or kind.startswith("_"):
                continue
            name = captures.get("name", [nodes[0]])[0]
            receiver = captures["receiver"][0] if "receiver" in captures else None
            seen.setdefault((name.start_byte, name.end_byte), (kind, nodes[0], name, _type_of(receiver)))
    ordered = sorted(seen.values(), key=lambda one: (one[1].start_byte, -one[1].end_byte))
    return tuple(_placed(ordered, parsed, path))


def _placed(found: list[tuple[str, Node, Node, str]], parsed: Parsed, path: str) -> list[Place]:
    made: list[Place] = []
    open_: list[tuple[int, str, str]] = []
    fields: set[str] = set()
    for kind, node, name, receiver in found:
        while open_ and open_[-1][0] <= node.start_byte:
            open_.pop()
        own = (name.text or b"").decode("utf-8", "replace").strip()
        if not own or "\n" in own:
            continue
        holders = [one for one in open_ if one[2] in _CONTAINERS] if kind == "field" else open_
        qualified = f"{receiver or holders[-1][1]}.{own}" if receiver or holders else own
        if kind == "scope":
            open_.append((node.end_byte, _bare_type(own), kind))
            continue
        if kind == "field" and (qualified in fields or not holders):
            continue
        fields.add(qualified)
        in_class = bool(receiver) or (bool(open_) and open_[-1][2] in ("class", "scope"))
        whole = (
            node.parent if node.parent and node.parent.type in ("decorated_definition", "export_statement") else node
        )
        symbol = Symbol(
            name=qualified,
            kind="method" if kind == "function" and in_class else kind,
            path=path,
            first_line=whole.start_point[0] + 1,
            last_line=_last_row(whole) + 1,
            parameters=_parameters(node),
        )
        start, end = parsed.offset(name.start_byte), parsed.offset(name.end_byte)
        first, last = parsed.offset(whole.start_byte), parsed.offset(whole.end_byte)
        made.append(Place(symbol=symbol, start=start, end=end, first=first, last=last))
        if kind not in ("field", "constant", "type"):
            open_.append((node.end_byte, qualified, kind))
    return made


def _last_row(node: Node) -> int:
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _type_of(receiver: Node | None) -> str:
    """The type in a Go receiver: `(p *Parser[T])` is of `Parser`."""
    if receiver is None:
        return ""
    waiting = [receiver]
    while waiting:
        node = waiting.pop(0)
        if node.type == "type_identifier":
            return (node.text or b"").decode("utf-8", "replace")
        waiting += node.named_children
    return ""


def _bare_type(name: str) -> str:
    return name.split("<")[0].strip().rpartition("::")[2]


def _parameters(node: Node) -> tuple[str, ...]:
    held = node.child_by_field_name("parameters")
    if held is None:
        value = node.child_by_field_name("value")
        held = value.child_by_field_name("parameters") if value is not None else None
    if held is None:
        return ()
    names = []
    for one in held.named_children:
        if one.type in ("comment", "receiver_parameter", "keyword_separator", "positional_separator"):
            continue
        named = one.children_by_field_name("name") or one.children_by_field_name("pattern") or _first_identifier(one)
        names += [(name.text or b"").decode("utf-8", "replace") for name in named]
    return tuple(names)


def _first_identifier(node: Node) -> list[Node]:
    waiting = [node]
    while waiting:
        one = waiting.pop(0)
        if one.type in ("identifier", "self", "this"):
            return [one]
        waiting += one.children
    return []


def is_special(name: str) -> bool:
    """Whether Python itself looks for the name: `__init__`, `__all__`."""
    return name.startswith("__") and name.endswith("__")


def split(name: str) -> tuple[str, str]:
    """The path (may be "") and the dotted name of `path::Class.member`."""
    path, mark, rest = name.rpartition("::")
    if mark and ("/" in path or "." in path or path):
        return path, rest
    return "", name


def resolve(overlay: Overlay, name: str, *, prefer: str = "") -> Place:
    """The one symbol that a name means. `prefer`: the file in focus, which wins among equals.

    Raises `RefusedError` where there is none, or more than one: with the candidates in its hint.
    """
    path, dotted = split(name)
    if "::" in dotted or (path and not overlay.exists(path)):
        # `Type::method`, as Rust and C++ write it
        path, dotted = "", name.replace("::", ".")
    found = candidates(overlay, dotted, path=path)
    if len(found) > 1 and prefer:
        found = [one for one in found if one.symbol.path == prefer] or found
    if not found:
        where = f" in {path}" if path else ""
        raise RefusedError(f"There is no symbol {dotted}{where}.", hint="Look it up with find_symbol or outline.")
    if len(found) > 1:
        shown = ", ".join(f"{one.symbol.path}::{one.symbol.name}" for one in found[:_SHOWN_CANDIDATES])
        raise RefusedError(f"{dotted} may be any of {len(found)} symbols.", hint=f"Say which one: {shown}.")
    return found[0]


def candidates(overlay: Overlay, dotted: str, *, path: str = "") -> list[Place]:
    """All symbols that a dotted name may mean: those of just this name, else those whose name ends in it."""
    last = dotted.rpartition(".")[2]
    exact, ending = [], []
    for file in [path] if path else overlay.paths():
        if detect(path=file).blocks == "none":
            continue
        try:
            text = overlay.read(file)
        except RefusedError:
            continue
        if last not in text:
            continue
        for place in places(text, file):
            if place.symbol.name == dotted:
                exact.append(place)
            elif place.symbol.name.endswith("." + dotted):
                ending.append(place)
    return _first_of_each(exact) or _first_of_each(ending)


def _first_of_each(found: list[Place]) -> list[Place]:
    """Overloads, and the two arms of an `if`, define one symbol: the first stands for them."""
    firsts: dict[tuple[str, str], Place] = {}
    for place in found:
        firsts.setdefault((place.symbol.path, place.symbol.name), place)
    return list(firsts.values())
