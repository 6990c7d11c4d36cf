"""Cross-file tasks from packages: a line is masked that uses what another file of the package defines.

The truth comes from Python's own `ast`, by following imports and base classes; nothing of the retriever is used here.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DEPTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A file without one line, the cursor at that line's indentation, and where what the line uses is defined."""

    root: str
    path: str
    text: str
    offset: int
    name: str
    gold_path: str
    gold_line: int
    gold_text: str
    """How that line begins, up to 60 characters."""
    reference: str
    """What stood on the line, without its indentation."""
    kind: str
    """name: imported by name; module: a member of an imported module; inherited: of a base class elsewhere."""


@dataclass(frozen=True, slots=True)
class _Module:
    path: str
    text: str
    tree: ast.Module
    defined: dict[str, ast.AST]
    imported: dict[str, tuple[str, str]]
    """alias → (module, name); an empty name binds the module."""


class Package:
    """The modules below a root, by dotted name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, _Module] = {}
        for file in sorted(root.rglob("*.py")):
            path = file.relative_to(root).as_posix()
            dotted = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            try:
                text = file.read_text(encoding="utf-8")
                tree = ast.parse(text)
            except (SyntaxError, ValueError):
                continue
            if "\r" not in text and "\f" not in text:
                self.modules[dotted] = _Module(path, text, tree, _defined(tree), _imported(tree, dotted, path))

    def find(self, dotted: str, name: str, depth: int = _DEPTH) -> tuple[_Module, ast.AST] | None:
        """Where a module's name is defined, through imports."""
        module = self.modules.get(dotted)
        if module is None or depth == 0:
            return None
        if name in module.defined:
            return module, module.defined[name]
        if name in module.imported:
            target, original = module.imported[name]
            return self.find(target, original, depth - 1) if original else None
        return None

    def tasks(self) -> Iterator[Task]:
        """Every line that qualifies, once."""
        for dotted, module in self.modules.items():
            lines = module.text.split("\n")
            seen = set()
            for line, name, kind, (target, node) in self._uses(dotted, module):
                if target is module or line in seen or "import" in lines[line - 1]:
                    continue
                seen.add(line)
                start = sum(len(one) + 1 for one in lines[: line - 1])
                masked = lines[line - 1]
                indent = len(masked) - len(masked.lstrip())
                text = module.text[: start + indent] + module.text[start + len(masked) :]
                yield Task(
                    root=str(self.root),
                    path=module.path,
                    text=text,
                    offset=start + indent,
                    name=name,
                    gold_path=target.path,
                    gold_line=_line(node),
                    gold_text=target.text.split("\n")[_line(node) - 1].strip()[:60].rstrip(),
                    reference=masked.strip(),
                    kind=kind,
                )

    def _uses(self, dotted: str, module: _Module) -> Iterator[tuple[int, str, str, tuple[_Module, ast.AST]]]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in module.imported:
                if found := self.find(dotted, node.id):
                    yield node.lineno, node.id, "name", found
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                holder = node.value.id
                target, name = module.imported.get(holder, ("", ""))
                whole = f"{target}.{name}" if name else target
                if whole in self.modules and (found := self.find(whole, node.attr)):
                    yield node.lineno, node.attr, "module", found
            elif isinstance(node, ast.ClassDef):
                yield from self._inherited(dotted, node)

    def _inherited(self, dotted: str, node: ast.ClassDef) -> Iterator[tuple[int, str, str, tuple[_Module, ast.AST]]]:
        own = _members(node)
        for inner in ast.walk(node):
            is_own = isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self"
            if not is_own or not isinstance(inner, ast.Attribute) or inner.attr in own:
                continue
            if found := self._member(dotted, node, inner.attr):
                yield inner.lineno, inner.attr, "inherited", found

    def _member(
        self, dotted: str, node: ast.ClassDef, name: str, depth: int = _DEPTH
    ) -> tuple[_Module, ast.AST] | None:
        for base in node.bases:
            found = self.find(dotted, base.id) if isinstance(base, ast.Name) else None
            if found is None or depth == 0 or not isinstance(found[1], ast.ClassDef):
                continue
            member = _members(found[1]).get(name)
            if member is not None:
                return found[0], member
            home = next(key for key, module in self.modules.items() if module is found[0])
            if deeper := self._member(home, found[1], name, depth - 1):
                return deeper
        return None


def sample(roots: list[Path], *, per_package: int, seed: int) -> list[Task]:
    """Up to `per_package` tasks of each package, always the same for a seed."""
    chosen: list[Task] = []
    for root in roots:
        tasks = list(Package(root).tasks())
        chosen += random.Random(f"{seed}/{root.name}").sample(tasks, min(per_package, len(tasks)))
    return chosen


def _defined(tree: ast.Module) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in _top(tree.body):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.setdefault(node.name, node)
            case ast.Assign():
                found.update(
                    (one.id, node) for one in node.targets if isinstance(one, ast.Name) and one.id not in found
                )
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.setdefault(name, node)
    return found


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _top(node.body)


def _imported(tree: ast.Module, dotted: str, path: str) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    package = dotted if path.endswith("__init__.py") else dotted.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package
            for _ in range(node.level - 1):
                base = base.rpartition(".")[0]
            module = ".".join(part for part in (base if node.level else "", node.module or "") if part)
            found.update((one.asname or one.name, (module, one.name)) for one in node.names)
        elif isinstance(node, ast.Import):
            found.update((one.asname, (one.name, "")) for one in node.names if one.asname)
            found.update((one.name, (one.name, "")) for one in node.names if not one.asname and "." not in one.name)
    return found


def _members(node: ast.ClassDef) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(inner.name, inner)
        elif (
            isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and isinstance(inner.value, ast.Name)
        ):
            found.setdefault(inner.attr, inner)
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        found.update((one.id, statement) for one in targets if isinstance(one, ast.Name))
    return found


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 1))
