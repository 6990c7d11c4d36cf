"""Relative imports of a symbol that moves to another file: rope leaves them as they are.

`from ..urls import quote` follows as `from ..text import quote`; what rope imports besides, by the whole path, goes.
Names that are looked up in a module (`urls.quote`) are rope's. Statements that share a line with others stay.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from completion.refactor.overlay import Overlay
from completion.refactor.source import NO_PYTHON
from model.errors import RefusedError


def follow(overlay: Overlay, name: str, *, old_path: str, new_path: str) -> None:
    """Have every relative import of `name` from one Python file name the other; paths are relative to the root."""
    for path in overlay.paths(language="python"):
        if path == old_path:
            continue
        try:
            text = overlay.read(path)
            tree = ast.parse(text)
        except (RefusedError, *NO_PYTHON):
            continue  # what cannot be read is reported where the change is verified
        changed = _followed(text, tree, name, path, old_path, new_path)
        if changed != text:
            overlay.write(path, changed)


def _followed(text: str, tree: ast.Module, name: str, path: str, old_path: str, new_path: str) -> str:
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    old = _module(old_path)
    stale = [node for node in imports if node.level and _meant(node, path) == old and _names(node, name)]
    if not stale:
        return text
    lines = text.split("\n")
    whole = ".".join(_module(new_path.removeprefix("src/")))
    added = [node for node in imports if not node.level and node.module == whole and _names(node, name)]
    edits = {node: _without(node, name, lines) for node in stale}
    if path != new_path:
        for node in stale:
            edits[node] += _import(node, name, path, new_path)
    edits |= {node: [] for node in added if len(node.names) == 1 and node.names[0].asname is None}
    for node in sorted(edits, key=lambda one: one.lineno, reverse=True):
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        alone = not lines[first][: node.col_offset].strip() and "".join(lines[first:last]).count(";") == 0
        if alone:
            lines[first:last] = edits[node]
    return "\n".join(lines)


def _module(path: str) -> tuple[str, ...]:
    """The parts of a module's name, from the root on."""
    return tuple(path.removesuffix(".py").removesuffix("/__init__").split("/"))


def _meant(node: ast.ImportFrom, path: str) -> tuple[str, ...]:
    """The module that a relative import in this file names."""
    package = path.split("/")[:-1]
    held = package[: len(package) - node.level + 1]
    return (*held, *(node.module.split(".") if node.module else ()))


def _names(node: ast.ImportFrom, name: str) -> bool:
    return any(alias.name == name for alias in node.names)


def _without(node: ast.ImportFrom, name: str, lines: Sequence[str]) -> list[str]:
    """The lines of the statement with its other names; none where it has no others."""
    others = [alias for alias in node.names if alias.name != name]
    rows = list(lines[node.lineno - 1 : node.end_lineno])
    if not others:
        return []
    kept = [row for row in rows if row.split("#")[0].strip().rstrip(",") != name]
    if len(kept) == len(rows) - 1:
        return kept  # a name on a line of its own goes with its line
    said = ", ".join(alias.name if alias.asname is None else f"{alias.name} as {alias.asname}" for alias in others)
    return [f"{rows[0][: node.col_offset]}from {'.' * node.level}{node.module or ''} import {said}"]


def _import(node: ast.ImportFrom, name: str, path: str, new_path: str) -> list[str]:
    """The import of the name from where it is now, as the statement had it."""
    package, target = path.split("/")[:-1], _module(new_path)
    shared = 0
    while shared < min(len(package), len(target)) and package[shared] == target[shared]:
        shared += 1
    dots = "." * (len(package) - shared + 1)
    module = f"{dots}{'.'.join(target[shared:])}" if shared else ".".join(_module(new_path.removeprefix("src/")))
    indent = " " * node.col_offset
    said = [name if alias.asname is None else f"{name} as {alias.asname}" for alias in node.names if alias.name == name]
    return [f"{indent}from {module} import {one}" for one in said]
