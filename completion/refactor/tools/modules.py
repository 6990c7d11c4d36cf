"""A renamed name of a file's top level, where other files of the language know it: JavaScript's and Go's.

JavaScript and TypeScript: `import {name} from "./file"` follows where the path leads to the file, uses included. Go:
the other files of the package follow. Also how one occurrence is spelled: `{name}` becomes `{name: other}`.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from completion.language import detect
from completion.refactor.overlay import Overlay
from completion.refactor.scopes import Scopes, scopes_of
from completion.refactor.symbols import Parsed, Place
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node

_SCRIPTS = frozenset({"javascript", "typescript", "typescriptreact"})
_ENDINGS = ("", ".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".d.ts", "/index.ts", "/index.tsx", "/index.js")


def spelled(parsed: Parsed, node: Node, new: str, *, exported: bool = True) -> dict[tuple[int, int], str]:
    """What one reference becomes; where a shorthand has two meanings, only the variable's changes.

    `exported`: the name is renamed for importers too, so that `export {name}` changes as a whole.
    """
    old = (node.text or b"").decode("utf-8", "replace")
    span = (node.start_byte, node.end_byte)
    parent = node.parent
    if node.type in ("shorthand_property_identifier", "shorthand_property_identifier_pattern"):
        return {span: f"{old}: {new}"}
    if node.type == "shorthand_field_identifier" or (
        parent is not None and parent.type == "shorthand_field_initializer"
    ):
        return {span: f"{old}: {new}"}
    if parent is not None and parent.type == "import_specifier" and parent.child_by_field_name("alias") is None:
        return {span: f"{old} as {new}"}
    if parent is not None and parent.type == "export_specifier" and not exported:
        return {span: f"{new} as {old}"}
    return {span: new}


def respell(text: str, spans: dict[tuple[int, int], str]) -> str:
    """A text with each byte span replaced."""
    source = text.encode("utf-8", "replace")
    for start, end in sorted(spans, reverse=True):
        source = source[:start] + spans[start, end].encode() + source[end:]
    return source.decode("utf-8", "replace")


def follow(overlay: Overlay, place: Place, old: str, new: str, language: str) -> None:
    """Have the other files follow. Raises `RefusedError` where the new name means something else in one of them."""
    if language in _SCRIPTS:
        _follow_imports(overlay, place.symbol.path, old, new)
    elif language == "go":
        _follow_package(overlay, place.symbol.path, old, new)


def _follow_imports(overlay: Overlay, target: str, old: str, new: str) -> None:
    for path in overlay.paths():
        language = detect(path=path).id
        if language not in _SCRIPTS or path == target or old not in overlay.read(path):
            continue
        found = scopes_of(overlay.read(path), language)
        if found is None:
            continue
        spans: dict[tuple[int, int], str] = {}
        for statement in found.parsed.tree.root_node.named_children:
            source = statement.child_by_field_name("source")
            if source is None or not _leads_to(overlay, path, _unquoted(source), target):
                continue
            for node in _descendants(statement):
                if node.type in ("import_specifier", "export_specifier"):
                    spans |= _specifier(found, node, old, new, path)
                elif node.type == "namespace_import":
                    spans |= _namespace(found, node, old, new)
        if spans:
            overlay.write(path, respell(found.parsed.text, spans))


def _specifier(found: Scopes, node: Node, old: str, new: str, path: str) -> dict[tuple[int, int], str]:
    name, alias = node.child_by_field_name("name"), node.child_by_field_name("alias")
    if name is None or name.text != old.encode():
        return {}
    own = {(name.start_byte, name.end_byte): new}
    if alias is not None:
        return own
    if node.type == "export_specifier":
        return {(name.start_byte, name.end_byte): f"{new} as {old}"}
    binding = found.binding(name)
    if binding is None:
        return own
    if found.capture(binding, new) is not None:
        raise RefusedError(f"{new} means something else in {path}.", hint="Choose another name.")
    spans: dict[tuple[int, int], str] = {}
    for one in found.references(binding):
        spans |= own if one.start_byte == name.start_byte else spelled(found.parsed, one, new, exported=False)
    return spans


def _namespace(found: Scopes, node: Node, old: str, new: str) -> dict[tuple[int, int], str]:
    """`import * as m`: every `m.old` follows."""
    binding = found.binding(node.named_children[0])
    spans = {}
    for one in [] if binding is None else found.references(binding):
        parent = one.parent
        if parent is None or parent.type not in ("member_expression", "nested_type_identifier", "nested_identifier"):
            continue
        last = parent.named_children[-1]
        if parent.named_children[0].id == one.id and last.text == old.encode():
            spans[last.start_byte, last.end_byte] = new
    return spans


def _follow_package(overlay: Overlay, target: str, old: str, new: str) -> None:
    folder = posixpath.dirname(target)
    for path in overlay.paths(language="go"):
        if path == target or posixpath.dirname(path) != folder or old not in overlay.read(path):
            continue
        found = scopes_of(overlay.read(path), "go")
        if found is None:
            continue
        if new in found.scopes[0].bindings:
            raise RefusedError(f"There is a {new} in {path} already.", hint="Choose another name.")
        spans = {(one.start_byte, one.end_byte): new for one in found.nodes(old) if found.binding(one) is None}
        if spans:
            overlay.write(path, respell(found.parsed.text, spans))


def _leads_to(overlay: Overlay, path: str, module: str, target: str) -> bool:
    if not module.startswith("."):
        return False
    base = posixpath.normpath(posixpath.join(posixpath.dirname(path), module))
    tried = [base + ending for ending in _ENDINGS]
    if base.endswith((".js", ".mjs", ".jsx")):
        tried += [base.rpartition(".")[0] + ending for ending in (".ts", ".tsx", ".mts")]
    return next((one == target for one in tried if not one.startswith("..") and overlay.exists(one)), False)


def _unquoted(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace").strip("'\"`")


def _descendants(node: Node) -> list[Node]:
    found, waiting = [], [node]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += one.named_children
    return found
