"""What a renaming leaves behind: the old name in comments, strings, documents, and where nobody knows what it means.

Offered, never made silently. In `__all__` and `__slots__`, and as a field of a dataclass, a name is no mere text:
those follow by `follow_strings` and `follow_fields`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from completion.language import detect
from completion.refactor.outcome import Extra
from completion.refactor.overlay import Overlay
from completion.refactor.scopes import leaves, scopes_of
from completion.refactor.source import NO_PYTHON
from completion.refactor.symbols import Parsed, Place, parse
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_EXTRAS = 200
_SHORT_NAME = 3
_SHOWN_CHARACTERS = 160
_TEXT_NODES = ("comment", "string", "template_string", "docstring", "text", "char_literal")


def leftovers(overlay: Overlay, old: str, new: str, *, paths: Iterable[str], member: bool) -> list[Extra]:
    """Where a name still stands as a word. `member`: it is one of an object, so that `.name` may mean it too.

    A short name (one or two letters) is sought nowhere: words would be full of it.
    """
    found: list[Extra] = []
    if len(old) < _SHORT_NAME:
        return found
    before = r"(?<![\w.])" if "." in old else r"(?<!\w)"
    word = re.compile(rf"{before}{re.escape(old)}(?!\w)")
    for path in paths:
        try:
            text = overlay.read(path)
        except RefusedError:
            continue
        matches = list(word.finditer(text)) if old in text else []
        if not matches:
            continue
        parsed = parse(text, detect(path=path).id)
        for match in matches:
            why = _why(parsed, match.start(), old, member=member)
            if why:
                found.append(extra(text, path, match.start(), match.end(), new, why))
            if len(found) == MAX_EXTRAS:
                return found
    return found


def extra(text: str, path: str, start: int, end: int, new: str, why: str) -> Extra:
    """An extra with its line."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    shown = text[first : len(text) if last < 0 else last].strip()[:_SHOWN_CHARACTERS]
    line = text.count("\n", 0, start) + 1
    return Extra(path=path, line=line, start=start, end=end, new=new, shown=shown, why=why)


def accept(overlay: Overlay, extras: Iterable[Extra]) -> None:
    """Make the changes that somebody has agreed to. Raises `RefusedError` for files that must not be changed."""
    by_path: dict[str, list[Extra]] = {}
    for one in extras:
        by_path.setdefault(one.path, []).append(one)
    for path, held in by_path.items():
        text = overlay.read(path)
        for one in sorted(held, key=lambda each: each.start, reverse=True):
            text = text[: one.start] + one.new + text[one.end :]
        overlay.write(path, text)


def follow_strings(overlay: Overlay, old: str, new: str, *, paths: Iterable[str]) -> None:
    """`"old"` in `__all__` of Python files that know the name follows it."""
    for path in paths:
        text = overlay.read(path)
        if "__all__" not in text or not path.endswith((".py", ".pyi")):
            continue
        changed = text
        for start, end in reversed(list(_exported(text, old))):
            changed = changed[:start] + changed[start:end].replace(old, new) + changed[end:]
        if changed != text:
            overlay.write(path, changed)


def follow_fields(overlay: Overlay, place: Place, new: str) -> None:
    """`Class(old=…)` follows the renamed field of a class whose constructor is made for it (dataclasses)."""
    holder, _, old = place.symbol.name.rpartition(".")
    if not holder or place.symbol.kind != "field" or not _makes_constructor(overlay.read(place.symbol.path), holder):
        return
    own = holder.rpartition(".")[2]
    for path in overlay.paths(language="python"):
        text = overlay.read(path)
        parsed = parse(text, "python") if old in text and own in text else None
        if parsed is None:
            continue
        spans = []
        for node in leaves(parsed.tree.root_node):
            keyword = node.parent
            if node.text != old.encode() or keyword is None or keyword.type != "keyword_argument":
                continue
            if keyword.named_children[0].id != node.id or keyword.parent is None or keyword.parent.parent is None:
                continue
            called = keyword.parent.parent.child_by_field_name("function")
            if called is not None and (called.text or b"").decode().rpartition(".")[2] == own:
                spans.append((parsed.offset(node.start_byte), parsed.offset(node.end_byte)))
        if spans:
            overlay.write(path, replace(text, spans, new))


def replace(text: str, spans: Iterable[tuple[int, int]], new: str) -> str:
    """A text with another text at each span (code points, none overlapping)."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _why(parsed: Parsed | None, offset: int, old: str, *, member: bool) -> str:
    """What makes this place worth a look; "" for one that surely means something else."""
    if parsed is None:
        return "in a document"
    byte = parsed.byte(offset)
    node = parsed.tree.root_node.descendant_for_byte_range(byte, byte + len(old.encode()))
    above = node
    for _ in range(3):
        if above is None:
            break
        if above.type.endswith("comment") or any(kind in above.type for kind in _TEXT_NODES):
            return "in a comment" if "comment" in above.type else "in a string"
        above = above.parent
    if node is None or node.parent is None:
        return ""
    if node.parent.type == "keyword_argument" and member:
        return "a keyword of a call that is not known"
    if node.parent.type in ("import_specifier", "export_specifier"):
        return ""  # what leads to the renamed file has followed; this leads elsewhere
    if parsed.language == "rust" and not member and node.parent.type in ("scoped_identifier", "scoped_type_identifier"):
        return "a path that may lead to it"
    if node.parent.type in ("attribute", "member_expression", "selector_expression", "field_expression", "field_access",
                            "method_invocation", "scoped_identifier"):  # fmt: skip
        return "a member of something whose type is not known" if member else ""
    found = scopes_of(parsed.text, parsed.language)
    if found is None or member or node.type.startswith(("property", "field", "shorthand_property")):
        return ""
    binding = found.binding(node)
    if binding is None:
        return "a name that the file does not bind"
    imported = parsed.language == "rust" and any(_is_used(one) for one in binding.names)
    return "a name that comes from another file" if imported else ""


def _is_used(node: Node) -> bool:
    """Whether a name is bound by Rust's `use`."""
    one: Node | None = node
    while one is not None and one.type != "use_declaration":
        one = one.parent
    return one is not None


def _exported(text: str, name: str) -> list[tuple[int, int]]:
    """Spans of the string `name` in `__all__`."""
    try:
        tree = ast.parse(text)
    except NO_PYTHON:
        return []
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    lines = text.split("\n")

    def at(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    spans = []
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
            continue
        for one in ast.walk(node):
            if (
                isinstance(one, ast.Constant)
                and one.value == name
                and one.end_lineno
                and one.end_col_offset is not None
            ):
                spans.append((at(one.lineno, one.col_offset), at(one.end_lineno, one.end_col_offset)))
    return sorted(spans)


def _makes_constructor(text: str, name: str) -> bool:
    try:
        tree = ast.parse(text)
    except NO_PYTHON:
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name.rpartition(".")[2]:
            own = any(isinstance(one, ast.FunctionDef) and one.name == "__init__" for one in node.body)
            return not own and bool(node.decorator_list or node.bases)
    return False
