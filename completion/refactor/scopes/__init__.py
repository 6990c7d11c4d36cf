"""Which definition a name in a file refers to, by the scopes of its language: plain names, not members of objects.

A query for each language (one or two `*.scm` beside this file) says what opens a scope and what binds a name in it:
`@here` in the scope around it, `@outer` in the one around that (a function's own name), `@hoist` in the function's
(`var`), `@after` from the end of its statement on, `@pattern` any identifier of a pattern. What is not known: other
files, macros, `with`, `eval`, and names that come from a wildcard import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from completion.refactor.symbols import Parsed, parse

if TYPE_CHECKING:
    from tree_sitter import Node, Query

_QUERIES_OF = {
    "python": ("python",),
    "javascript": ("ecmascript", "javascript"),
    "typescript": ("ecmascript", "typescript"),
    "typescriptreact": ("ecmascript", "typescript"),
    "go": ("go",),
    "java": ("java",),
    "rust": ("rust",),
}
LANGUAGES = frozenset(_QUERIES_OF)
"""Languages whose scopes are known."""

NAMES = frozenset(
    {
        "identifier", "type_identifier", "shorthand_property_identifier", "shorthand_property_identifier_pattern",
        "shorthand_field_identifier", "package_identifier",
    }
)  # fmt: skip
_MEMBERS = frozenset({"property_identifier", "field_identifier", "private_property_identifier"})
_STATEMENTS = ("_declaration", "_statement", "_clause")


@dataclass(slots=True)
class Scope:
    """A region in which names are bound: bytes from `start` to `end`."""

    start: int
    end: int
    parent: Scope | None
    function: bool
    class_body: bool
    bindings: dict[str, list[Binding]] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Binding:
    """One variable, function or type. It can be seen from byte `visible` on; `names` are the nodes that bind it."""

    name: str
    scope: Scope
    visible: int
    names: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes of one text."""

    parsed: Parsed
    scopes: tuple[Scope, ...]

    def scope_at(self, byte: int) -> Scope:
        """The innermost scope at a byte."""
        best = self.scopes[0]
        for scope in self.scopes:
            if scope.start > byte:
                break
            if byte < scope.end:
                best = scope
        return best

    def nodes(self, name: str) -> Iterator[Node]:
        """Every plain name that is spelled so, in the order of the text; members of objects are left out."""
        wanted = name.encode()
        for node in leaves(self.parsed.tree.root_node):
            if node.type in NAMES and node.text == wanted and not is_member(node):
                yield node

    def binding(self, node: Node) -> Binding | None:
        """What a plain name refers to; None for one that the file does not bind."""
        name = (node.text or b"").decode("utf-8", "replace")
        for bindings in self._chain(name, node.start_byte):
            for one in bindings:
                if any(bound.start_byte == node.start_byte for bound in one.names):
                    return one
        for bindings in self._chain(name, node.start_byte):
            seen = [one for one in bindings if one.visible <= node.start_byte]
            if seen:
                return max(seen, key=lambda one: one.visible)
        return None

    def references(self, binding: Binding) -> list[Node]:
        """Every name that refers to a binding, those that bind it included."""
        return [node for node in self.nodes(binding.name) if self.binding(node) is binding]

    def capture(self, binding: Binding, new_name: str) -> Node | None:
        """A place where `new_name` would mean something else after the renaming, or would take others' meaning."""
        if new_name in binding.scope.bindings:
            return binding.scope.bindings[new_name][0].names[0]
        for node in self.references(binding):
            scope: Scope | None = self.scope_at(node.start_byte)
            while scope is not None and scope is not binding.scope:
                if new_name in scope.bindings and not (scope.class_body and self._skips_class(node, scope)):
                    return node
                scope = scope.parent
        for node in self.nodes(new_name):
            inside = binding.scope.start <= node.start_byte < binding.scope.end
            if inside and (self.binding(node) is None or self.binding(node).scope.end >= binding.scope.end):  # type: ignore[union-attr]
                return node
        return None

    def _chain(self, name: str, byte: int) -> Iterator[list[Binding]]:
        scope: Scope | None = self.scope_at(byte)
        start = scope
        while scope is not None:
            skipped = self.parsed.language == "python" and scope.class_body and scope is not start
            if name in scope.bindings and not skipped:
                yield scope.bindings[name]
            scope = scope.parent

    def _skips_class(self, node: Node, scope: Scope) -> bool:
        return self.parsed.language == "python" and self.scope_at(node.start_byte) is not scope


@lru_cache(maxsize=64)
def scopes_of(text: str, language: str) -> Scopes | None:
    """The scopes of a text; None for a language whose scopes are not known."""
    from tree_sitter import QueryCursor

    parsed = parse(text, language)
    if parsed is None or language not in _QUERIES_OF:
        return None
    captures = QueryCursor(_query(language)).captures(parsed.tree.root_node)
    functions = {node.id for node in captures.get("function", [])}
    scopes: list[Scope] = []
    root = parsed.tree.root_node
    inner = [node for node in captures.get("scope", []) if node.id != root.id]
    # The whole text comes first; of one that cannot be parsed at all, the root is no module.
    for node in (root, *sorted(inner, key=lambda one: (one.start_byte, -one.end_byte))):
        parent = next(
            (one for one in reversed(scopes) if one.start <= node.start_byte and node.end_byte <= one.end), None
        )
        whole = parent is None
        scopes.append(
            Scope(
                start=0 if whole else node.start_byte,
                end=len(parsed.source) + 1 if whole else node.end_byte,
                parent=parent,
                function=node.id in functions,
                class_body=node.type in ("class_body", "class_definition", "interface_body", "enum_body"),
            )
        )
    made = Scopes(parsed, tuple(scopes))
    for kind, nodes in captures.items():
        if kind in ("scope", "function"):
            continue
        for node in nodes:
            for name in _bound(node) if kind.startswith("pattern") else (node,):
                _bind(made, name, kind)
    _global_names(made)
    for scope in scopes:
        for bindings in scope.bindings.values():
            bindings.sort(key=lambda one: one.visible)
    return made


def leaves(node: Node) -> Iterator[Node]:
    """The nodes without children, in the order of the text."""
    cursor = node.walk()
    while True:
        if cursor.goto_first_child():
            continue
        found = cursor.node
        if found is not None:
            yield found
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def is_member(node: Node) -> bool:
    """Whether a name stands behind a dot (or `::`), or names an argument: then scopes do not tell what it is."""
    if node.type in _MEMBERS:
        return True
    parent = node.parent
    if parent is None:
        return False

    def is_field(name: str) -> bool:
        held = parent.child_by_field_name(name)
        return held is not None and held.id == node.id

    if parent.type == "attribute":
        return is_field("attribute")
    if parent.type == "keyword_argument":
        return is_field("name")
    if parent.type == "field_access":
        return is_field("field")
    if parent.type == "method_invocation":
        return is_field("name") and parent.child_by_field_name("object") is not None
    if parent.type in ("scoped_identifier", "scoped_type_identifier", "qualified_type"):
        return is_field("name") and not _in_use(parent)
    if parent.type == "method_reference":
        return parent.named_children[-1].id == node.id and len(parent.named_children) > 1
    if parent.type == "literal_element":
        keyed = parent.parent
        return keyed is not None and keyed.type == "keyed_element" and keyed.named_children[0].id == parent.id
    return parent.type in ("element_value_pair", "nested_type_identifier") and not is_field("value")


def _in_use(node: Node) -> bool:
    return node.parent is not None and node.parent.type == "use_declaration"


def _bind(made: Scopes, node: Node, kind: str) -> None:
    scope = made.scope_at(node.start_byte)
    if kind == "outer" and scope.parent is not None:
        scope = scope.parent
    if kind == "hoist":
        while not scope.function and scope.parent is not None:
            scope = scope.parent
    name = (node.text or b"").decode("utf-8", "replace")
    if name == "_" or is_member(node):
        return
    after = kind.endswith("after")
    visible = _end_of_statement(node) if after else scope.start
    known = scope.bindings.setdefault(name, [])
    shadows = kind == "pattern.after"
    same = next((one for one in known if not shadows or (one.visible == visible)), None)
    if same is None:
        same = Binding(name, scope, visible)
        known.append(same)
    same.names.append(node)
    same.visible = min(same.visible, visible)


def _end_of_statement(node: Node) -> int:
    one: Node | None = node
    while one is not None and not one.type.endswith(_STATEMENTS):
        one = one.parent
    return node.end_byte if one is None else one.end_byte


def _bound(node: Node) -> Iterator[Node]:
    """The identifiers that a Rust pattern binds: not its paths, types, constants or field names."""
    if node.type == "identifier":
        text = (node.text or b"").decode("utf-8", "replace")
        if not text[:1].isupper():
            yield node
    elif node.type == "shorthand_field_identifier":
        yield node
    elif node.type not in ("scoped_identifier", "literal_pattern", "type_identifier", "generic_type"):
        skipped = {
            held.id for name in ("type", "name", "value", "condition") for held in node.children_by_field_name(name)
        }
        if node.type == "field_pattern":
            skipped -= {held.id for held in node.children if held.type == "shorthand_field_identifier"}
        for child in node.named_children:
            if child.id not in skipped:
                yield from _bound(child)


def _global_names(made: Scopes) -> None:
    """Python's `global x` and `nonlocal x`: what the function binds belongs to an outer scope."""
    if made.parsed.language != "python":
        return
    waiting = [made.parsed.tree.root_node]
    while waiting:
        node = waiting.pop()
        waiting += node.named_children
        if node.type not in ("global_statement", "nonlocal_statement"):
            continue
        scope = made.scope_at(node.start_byte)
        for one in node.named_children:
            name = (one.text or b"").decode("utf-8", "replace")
            mine = scope.bindings.pop(name, [])
            target = made.scopes[0] if node.type == "global_statement" else scope.parent
            while target is not None and name not in target.bindings and target.parent is not None:
                target = target.parent
            if target is None:
                continue
            known = target.bindings.setdefault(name, [])
            if not known:
                known.append(Binding(name, target, target.start))
            known[0].names += [bound for binding in mine for bound in binding.names]


@cache
def _query(language: str) -> Query:
    from tree_sitter import Query

    from completion.context.grammars import grammar

    found = grammar(language)
    assert found is not None
    tree_language = found.parser.language
    assert tree_language is not None
    files = [Path(__file__).parent / f"{name}.scm" for name in _QUERIES_OF[language]]
    return Query(tree_language, "".join(file.read_text(encoding="utf-8") for file in files))
