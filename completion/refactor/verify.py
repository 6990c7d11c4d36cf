"""Whether a change left the code whole: what parsed still parses, and no name is lost. Runs nothing of the project.

`problems` tells what is wrong with one text; `broken` compares a moment with now, so that what was wrong before is not
held against a change.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from completion.language import detect
from completion.refactor.overlay import Mark, Overlay
from completion.refactor.source import NO_PYTHON
from completion.refactor.symbols import parse
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST_SYNTAX_ERRORS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """`kind`: syntax, undefined, import or unused. `name`: what it is about, where there is a name."""

    kind: str
    line: int
    message: str
    name: str = ""


@lru_cache(maxsize=256)
def problems(text: str, path: str) -> tuple[Problem, ...]:
    """Syntax errors by tree-sitter (and by Python's own parser); undefined and unused names of Python by pyflakes."""
    language = detect(path=path).id
    if language == "python" and path.endswith((".py", ".pyi", ".pyw")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except NO_PYTHON as error:
            line = getattr(error, "lineno", None) or 1
            return (Problem(kind="syntax", line=line, message=f"syntax error: {getattr(error, 'msg', error)}"),)
        return _names(tree, path)
    parsed = parse(text, language)
    if parsed is None:
        return ()
    return tuple(
        Problem(kind="syntax", line=node.start_point[0] + 1, message=_syntax_message(node))
        for node in _errors(parsed.tree.root_node)
    )


def broken(overlay: Overlay, mark: Mark) -> list[str]:
    """What the changes since a moment broke, in words: nothing where all is well."""
    found = []
    gone = {path for path in overlay.changed_since(mark) if not overlay.exists(path)}
    for path in overlay.changed_since(mark):
        if path in gone:
            continue
        before = overlay.text_at(mark, path)
        was = Counter() if before is None else Counter(_key(one) for one in problems(before, path))
        for one in problems(overlay.read(path), path):
            if one.kind == "unused":
                continue
            if was[_key(one)]:
                was[_key(one)] -= 1
                continue
            found.append(f"{path}:{one.line}: {one.message}")
    return found + _lost_imports(overlay, mark)


def _key(one: Problem) -> tuple[str, str]:
    """A text with syntax errors may have others afterwards; names are told apart."""
    return one.kind, one.name


def _names(tree: ast.Module, path: str) -> tuple[Problem, ...]:
    from pyflakes import messages
    from pyflakes.checker import Checker

    found = []
    for message in Checker(tree, filename=path).messages:
        said = str(message.message % message.message_args)
        name = str(message.message_args[0]) if message.message_args else ""
        if isinstance(message, messages.UndefinedName | messages.UndefinedExport | messages.UndefinedLocal):
            kind = "undefined"
        elif isinstance(message, messages.UnusedImport | messages.UnusedVariable):
            kind = "unused"
        else:
            continue
        found.append(Problem(kind=kind, line=message.lineno, message=said, name=name))
    return tuple(sorted(found, key=lambda one: one.line))


def _lost_imports(overlay: Overlay, mark: Mark) -> list[str]:
    """`from module import name` in any Python file, where a changed module had the name and has it no more."""
    changed = [path for path in overlay.changed_since(mark) if path.endswith(".py")]
    lost: dict[str, set[str]] = {}
    for path in changed:
        before = overlay.text_at(mark, path)
        now = overlay.read(path) if overlay.exists(path) else ""
        names = set(top_names(before or "", path) - top_names(now, path))
        if names and "*" not in top_names(now, path):
            lost[path] = names
    found: list[str] = []
    if not lost:
        return found
    every = overlay.paths(language="python")
    for path in every:
        try:
            text = overlay.read(path)
        except RefusedError:
            continue
        if not any(name in text for names in lost.values() for name in names):
            continue
        for module, name, line in _imported(text, path):
            for file, names in lost.items():
                if name in names and _is_module(module, file) and not _is_submodule(file, name, every):
                    found.append(f"{path}:{line}: {file} has no {name} any more")
    return found


def top_names(text: str, path: str) -> frozenset[str]:
    """The names that a Python module binds at its top level, wherever in it; `*` for a wildcard import."""
    try:
        tree = ast.parse(text)
    except NO_PYTHON:
        return frozenset({"*"})
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
        else:
            waiting += ast.iter_child_nodes(node)
    return frozenset(names)


def _imported(text: str, path: str) -> list[tuple[str, str, int]]:
    try:
        tree = ast.parse(text)
    except NO_PYTHON:
        return []
    found = []
    package = path.rpartition("/")[0].split("/")
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if node.level:
            above = package[: len(package) - node.level + 1]
            module = ".".join([*above, *([module] if module else [])])
        found += [(module, alias.name, node.lineno) for alias in node.names]
    return found


def _is_module(module: str, file: str) -> bool:
    dotted = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return bool(module) and (dotted == module or dotted == f"src.{module}" or dotted.endswith(f".{module}"))


def _is_submodule(file: str, name: str, every: list[str]) -> bool:
    folder = file.removesuffix("__init__.py")
    return file.endswith("__init__.py") and (f"{folder}{name}.py" in every or f"{folder}{name}/__init__.py" in every)


def _errors(root: Node) -> list[Node]:
    found: list[Node] = []
    waiting = [root] if root.has_error else []
    while waiting and len(found) < _MOST_SYNTAX_ERRORS:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            found.append(node)
            continue
        waiting += [child for child in node.children if child.has_error or child.is_missing]
    return found


def _syntax_message(node: Node) -> str:
    if node.is_missing:
        return f"syntax error: {node.type} is missing"
    lines = (node.text or b"").decode("utf-8", "replace").strip().split("\n")
    return f"syntax error near {lines[0][:40]!r}"
