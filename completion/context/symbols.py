"""What cannot be, by the index: names that a closed module or class does not have, arguments that a function lacks.

Made never to be wrong rather than to see much. A module or class is closed when its file is the only one that its name
can mean, every base class is found, and nothing in it makes names up as it runs; then a name cannot exist that stands
nowhere in those files. Whatever is not certain is passed over. Python only; runs on the thread of the library.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from dataclasses import dataclass
from functools import lru_cache

from completion.claims import Claim, ClaimKind
from completion.context.facts import Definition, Import
from completion.context.library import Library
from completion.context.resolve import is_package, locate, members, module_key
from completion.context.scopes import binds, enclosing_function, lines_with
from completion.context.signatures import decorated_by, made_by, parse, plain_name

_NAME = re.compile(r"[^\W\d]\w*")
_MAKES_NAMES = re.compile(
    r"\b(?:__getattr__|__getattribute__|__dict__|__new__|globals|locals|vars|exec|eval|setattr|import_module|"
    r"__import__|modules|lazy\w*|deprecated\w*|proxy\w*)\b|import\s*\*",
    re.IGNORECASE,
)
_LONG_IMPORT = re.compile(r"^[ \t]*from\s[^\n]*\bimport\s*\([^)]*\)", re.MULTILINE)
_HARMLESS = frozenset(
    {"staticmethod", "cache", "lru_cache", "contextmanager", "asynccontextmanager", "final", "override"}
)
_HARMLESS_OF_CLASS = frozenset({"dataclass", "final", "total_ordering", "runtime_checkable"})
_PLAIN_BASES = frozenset({"ABC", "Protocol", "Generic", "object"})
_LINES = 100_000
_DEPTH = 4
_MOST_OPENINGS = 200


@dataclass(frozen=True, slots=True)
class Ruling:
    """A claim cannot be true. `instead`: names that can stand there, as far as they are known."""

    reason: str
    instead: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Class:
    path: str
    definition: Definition
    node: ast.ClassDef


class SymbolTable:
    """Judges claims made in one file. `text` is the file up to the claim, what was generated included."""

    def __init__(self, library: Library, *, path: str, text: str, behind: str = "") -> None:
        """`behind`: the rest of the file. What the editor shows of the file must be in the library."""
        self._library = library
        self._path = path
        self._text = text
        self._own = text + "\n" + behind

    def judge(self, claim: Claim) -> Ruling | None:
        """Why a claim cannot be true; None: it can, or that is not known."""
        match claim.kind:
            case ClaimKind.IMPORT:
                return self._import(claim)
            case ClaimKind.ATTRIBUTE:
                return self._attribute(claim)
            case ClaimKind.KEYWORD:
                return self._keyword(claim)
            case ClaimKind.ARGUMENT:
                return self._argument(claim)

    def _import(self, claim: Claim) -> Ruling | None:
        module = self._module(claim.holder[0])
        return None if module is None else self._of_module(module, claim)

    def _of_module(self, module: str, claim: Claim) -> Ruling | None:
        text = self._closed(module)
        if text is None or claim.name in _words(text) or claim.name.startswith("__"):
            return None
        if is_package(module) and self._library.paths_with_stem(claim.name):
            return None
        facts = self._library.facts(module)
        tops = [one.name for one in facts.definitions if not one.owner] if facts else []
        bound = [one.alias for one in facts.imports if one.alias] if facts else []
        return Ruling(f"{module_key(module).replace('/', '.')} has no {claim.name}", _public([*tops, *bound]))

    def _attribute(self, claim: Claim) -> Ruling | None:
        name = ".".join(claim.holder)
        bound = self._binding(name)
        if bound is not None:
            if self._assigned(claim.holder[0]):
                return None
            whole = bound.module if not bound.name else _joined(bound.module, bound.name)
            module = self._module(whole)
            if module is not None:
                return self._of_module(module, claim)
        if len(claim.holder) != 1:
            return None
        owner = self._class_named(name) if not self._assigned(name) else self._class_of(name)
        return None if owner is None else self._of_class(owner, claim)

    def _of_class(self, owner: _Class, claim: Claim) -> Ruling | None:
        line = self._line_of(owner)
        if line is None or claim.name.startswith("__") or re.search(rf"\.\s*{claim.name}\b", self._own_before(claim)):
            return None
        known: list[str] = []
        for one in line:
            if isinstance(one, type):
                if hasattr(one, claim.name):
                    return None
                continue
            text = self._closed(one.path)
            if text is None or claim.name in _words(text):
                return None
            known += [member.name for member in members(self._library, one.path, one.definition.name)]
        if any(one.owner for _, one in self._library.definitions_named(claim.name)):
            return None  # a subclass may have it, and be what is meant
        return Ruling(f"{owner.definition.name} has no {claim.name}", _public(known))

    def _keyword(self, claim: Claim) -> Ruling | None:
        found = self._signature(claim.holder)
        if found is None or found.kwarg is not None:
            return None
        names = [one.arg for one in (*found.args, *found.kwonlyargs)]
        if claim.name in names:
            return None
        left = [name for name in names[min(claim.positional, len(found.args)) :] if name not in claim.given]
        return Ruling(f"{'.'.join(claim.holder)}() takes no {claim.name}", tuple(left))

    def _argument(self, claim: Claim) -> Ruling | None:
        found = self._signature(claim.holder)
        if found is None or found.kwarg is not None or found.vararg is not None or claim.name == "*":
            return None
        count = len(found.posonlyargs) + len(found.args) + len(found.kwonlyargs)
        if claim.positional + len(claim.given) < count:
            return None
        return Ruling(f"{'.'.join(claim.holder)}() takes no more than {count} arguments", (")",))

    # Modules.

    def _module(self, module: str) -> str | None:
        """The one file that a module's name can mean; None where that is not certain."""
        if module.startswith("."):
            found = locate(self._library, self._path, module)
            return found[0] if len(found) == 1 and found[0].endswith(".py") else None
        wanted = module.replace(".", "/")
        top, _, rest = wanted.partition("/")
        if not rest and top in sys.stdlib_module_names:
            return None
        heads = {"", "src/"}
        parts = self._path.split("/")[:-1]
        heads |= {"/".join(parts[:depth]) + "/" for depth in range(1, len(parts)) if parts[depth] == top}
        named = [
            path
            for path in self._library.paths_with_stem(wanted.rpartition("/")[2])
            if any(module_key(path) == head + wanted for head in heads)
        ]
        return named[0] if len(named) == 1 and named[0].endswith(".py") else None

    def _closed(self, path: str) -> str | None:
        """A file's text, if nothing in it makes names as it runs."""
        text = self._library.lines(path, 1, _LINES)
        return None if not text or _MAKES_NAMES.search(text) else text

    def _binding(self, name: str) -> Import | None:
        """The only import of this file that binds a name."""
        facts = self._library.facts(self._path)
        found = [one for one in facts.imports if one.alias == name] if facts else []
        return found[0] if len(found) == 1 else None

    def _assigned(self, name: str) -> bool:
        """Might a name of this file be bound otherwise than by its import or definition?"""
        lines = lines_with(name, _LONG_IMPORT.sub("", self._own))
        return any(binds(name).search(line) for line in lines)

    # Classes.

    def _class_named(self, name: str, path: str | None = None, depth: int = _DEPTH) -> _Class | None:
        """The class that a name of a file certainly means."""
        place = self._place(name, path or self._path, depth)
        if place is None or place[1].kind != "class":
            return None
        node = self._parsed(*place)
        return _Class(*place, node) if isinstance(node, ast.ClassDef) else None

    def _place(self, name: str, path: str, depth: int = _DEPTH) -> tuple[str, Definition] | None:
        """The only definition that a top-level name of a file can mean, through imports that are certain."""
        facts = self._library.facts(path)
        if facts is None or depth == 0:
            return None
        own = [one for one in facts.definitions if one.name == name and not one.owner]
        imported = [one for one in facts.imports if one.alias == name]
        if own:
            return (path, own[0]) if len(own) == 1 and not imported else None
        if len(imported) != 1 or not imported[0].name:
            return None
        target = SymbolTable(self._library, path=path, text="")._module(imported[0].module)
        return None if target is None else self._place(imported[0].name, target, depth - 1)

    def _class_of(self, name: str) -> _Class | None:
        """The class of a local variable: by its annotation as a parameter, or the one call that made it."""
        function = enclosing_function(self._text)
        word = re.escape(name)
        if function is None or re.search(
            rf"\b(?:isinstance|hasattr|type|cast|getattr|setattr|issubclass|match)\b[^\n]*\b{word}\b", function
        ):
            return None
        annotated = re.findall(rf"[(,]\s*{word}\s*:\s*([^\W\d]\w*)\s*(?=[,)=])", function)
        made = re.findall(rf"^[ \t]*{word}\s*=\s*([^\W\d]\w*)\(", function, re.MULTILINE)
        stores = re.findall(
            rf"(?<![\w.]){word}\s*(?::[^=\n,()]+)?=(?!=)|\bfor\b[^\n:]*\b{word}\b|\bas\s+{word}\b|(?<![\w.]){word}\s*:=|"
            rf"(?<![\w.]){word}\s*,[^\n=()]*=(?!=)|[(,]\s*{word}\s*(?=[,)])[^=\n]*\)\s*=(?!=)|"
            rf"\b(?:global|nonlocal|del|lambda|case)\b[^\n]*\b{word}\b|(?<![\w.]){word}\s*[+\-*/|&]=",
            function,
        )
        if len(annotated) == 1 and not stores:
            return self._class_named(annotated[0])
        if len(made) == 1 and len(stores) == 1 and not annotated:
            return self._class_named(made[0])
        return None

    def _line_of(self, owner: _Class, depth: int = _DEPTH) -> list[_Class | type] | None:
        """A class and all its bases; None where one is not found."""
        node = owner.node
        if node.keywords or depth == 0 or not decorated_by(node, _HARMLESS_OF_CLASS):
            return None
        line: list[_Class | type] = [owner, object]
        for base in node.bases:
            name = plain_name(base)
            if name in _PLAIN_BASES:
                continue
            builtin = getattr(builtins, name, None)
            if isinstance(builtin, type) and self._place(name, owner.path) is None:
                line.append(builtin)
                continue
            found = self._class_named(name, owner.path) if name else None
            above = None if found is None else self._line_of(found, depth - 1)
            if above is None:
                return None
            line += above
        return line

    def _own_before(self, claim: Claim) -> str:
        """This file without the claim itself."""
        cut = self._text.rfind(claim.name)
        return self._text[:cut] + self._own[len(self._text) :]

    # Functions.

    def _signature(self, callee: tuple[str, ...]) -> ast.arguments | None:
        """The parameters of what is called; None where they are not certain. Of a class: those of its `__init__`."""
        if self._assigned(callee[0]):
            return None
        place: tuple[str, Definition] | None = None
        if len(callee) == 1:
            place = self._place(callee[0], self._path)
        elif (bound := self._binding(".".join(callee[:-1]))) is not None:
            whole = bound.module if not bound.name else _joined(bound.module, bound.name)
            module = self._module(whole)
            place = None if module is None else self._place(callee[-1], module)
        node = None if place is None else self._parsed(*place)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return node.args if decorated_by(node, _HARMLESS) else None
        return made_by(node) if isinstance(node, ast.ClassDef) else None

    def _parsed(self, path: str, definition: Definition) -> ast.stmt | None:
        text = self._library.lines(path, definition.first_line, definition.last_line)
        return parse(text)


def _joined(module: str, name: str) -> str:
    return module + name if module.endswith(".") else f"{module}.{name}"


def _public(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if not name.startswith("__")))[:_MOST_OPENINGS]


@lru_cache(maxsize=64)
def _words(text: str) -> frozenset[str]:
    return frozenset(_NAME.findall(text))
