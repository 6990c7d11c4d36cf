"""Follows imports: from a module's name to files, from a name in a file to where it is defined.

By the shapes of paths alone, the same for all languages: no build files are read, and what is ambiguous gives the
nearest. What lies outside the root is not found.
"""

from __future__ import annotations

import posixpath
import re

from completion.context.facts import Definition, Import
from completion.context.library import Library

_DEPTH = 4
_PACKAGE_FILES = 8
_NO_PARTS = frozenset({"", "crate", "self", "super", "@", "~", "std"})
_OWN_FILES = ("__init__", "index", "mod", "lib", "init")
_ENDING = re.compile(r"\.(?:d\.ts|[A-Za-z]{1,5})$")
Place = tuple[str, Definition]


def module_key(path: str) -> str:
    """A file's path as a module: without ending, and for a package's own file its folder."""
    key = path.rpartition("/")[0] + "/" if "/" in path else ""
    stem = path.rpartition("/")[2].split(".")[0]
    return key.rstrip("/") if stem in _OWN_FILES and key else key + stem


def is_package(path: str) -> bool:
    """Whether a file stands for its folder."""
    return path.rpartition("/")[2].split(".")[0] in _OWN_FILES


def locate(library: Library, path: str, module: str) -> list[str]:
    """The files that `module`, imported in the file `path`, may mean; the nearest first."""
    key = path.rpartition("/")[0], module
    if key not in library.located:
        library.located[key] = _locate(library, path, module)
    return library.located[key]


def _locate(library: Library, path: str, module: str) -> list[str]:
    wanted, exact = _wanted(path, module)
    if not wanted:
        return []
    if path.endswith(".go"):
        return _go_package(library, wanted)
    found = library.paths_with_stem(wanted.rpartition("/")[2])
    keys = {one: module_key(one) for one in found}
    if exact:
        matching = [one for one in found if keys[one] == wanted]
    else:
        matching = [one for one in found if keys[one] == wanted or keys[one].endswith("/" + wanted)]
    return sorted(matching, key=lambda one: (-_shared(path, one), len(one), one))[:3]


def _go_package(library: Library, wanted: str) -> list[str]:
    """Go imports folders, whose path in the root is the end of the import's; the longest such end is meant."""
    files = library.paths_in_folders(wanted.rpartition("/")[2])
    folders = {one.rpartition("/")[0] for one in files if one.endswith(".go") and not one.endswith("_test.go")}
    ends = [folder for folder in folders if wanted == folder or wanted.endswith("/" + folder)]
    ends = ends or [folder for folder in folders if folder.endswith("/" + wanted)]
    best = max(ends, key=lambda folder: (len(folder), folder), default=None)
    return [one for one in files if one.rpartition("/")[0] == best and not one.endswith("_test.go")][:_PACKAGE_FILES]


def bindings(library: Library, path: str) -> dict[str, Import]:
    """The names that a file's imports bind."""
    facts = library.facts(path)
    return {one.alias: one for one in facts.imports if one.alias} if facts else {}


def members(library: Library, path: str, owner: str) -> list[Definition]:
    """What a class (or, for an empty owner, the file itself) defines directly."""
    facts = library.facts(path)
    return [one for one in facts.definitions if one.owner == owner] if facts else []


def resolve(library: Library, path: str, name: str, *, depth: int = _DEPTH) -> list[Place]:
    """Where a top-level name of a file is defined: there, or where its imports lead."""
    key = path, name, depth
    if key not in library.resolved:
        library.resolved[key] = []  # a way back to here leads nowhere
        library.resolved[key] = _resolve(library, path, name, depth)
    return library.resolved[key]


def _resolve(library: Library, path: str, name: str, depth: int) -> list[Place]:
    facts = library.facts(path)
    if facts is None or depth == 0:
        return []
    if (own := library.top(path).get(name)) is not None:
        return [(path, own)]
    for one in facts.imports:
        bound = one.alias == name and one.name not in ("", "*")
        if bound and (found := follow(library, path, one, depth=depth - 1)):
            return found
    for one in facts.imports:
        if one.name == "*":
            for target in locate(library, path, one.module):
                if target != path and (found := resolve(library, target, name, depth=depth - 1)):
                    return found
    return []


def follow(library: Library, path: str, one: Import, *, depth: int = _DEPTH) -> list[Place]:
    """Where the name that an import binds is defined; nothing for a whole module."""
    for target in locate(library, path, one.module):
        name = _default(library, target) if one.name == "default" else one.name
        if target != path and (found := resolve(library, target, name, depth=depth)):
            return found
    # Java's classes and Rust's items may be files that are named like them.
    for target in locate(library, path, _joined(one.module, one.name)):
        if found := resolve(library, target, one.name, depth=min(1, depth)):
            return found
    return []


def module_of(library: Library, path: str, one: Import) -> list[str]:
    """The files of the module that an import binds as a whole (`import a.b`, `from a import b` where b is a file).

    One file, the nearest; of a Go package, all of its files.
    """
    found = locate(library, path, one.module if one.name in ("", "*") else _joined(one.module, one.name))
    return found if path.endswith(".go") else found[:1]


def _joined(module: str, name: str) -> str:
    if not name or name == "default":
        return module
    return (
        module + name if module.endswith(".") else f"{module}/{name}" if module.startswith("./") else f"{module}.{name}"
    )


def _default(library: Library, path: str) -> str:
    facts = library.facts(path)
    tops = [one.name for one in facts.definitions if not one.owner] if facts else []
    stem = module_key(path).rpartition("/")[2].lower()
    return next((name for name in tops if name.lower() == stem), tops[0] if tops else "")


def _wanted(path: str, module: str) -> tuple[str, bool]:
    """The module as the key of a file, and whether that is the whole key or its end."""
    folder = path.rpartition("/")[0]
    if module.startswith(("./", "../")):
        return module_key(posixpath.normpath(posixpath.join(folder, _ENDING.sub("", module)))), True
    if module.startswith("."):
        rest = module.lstrip(".")
        for _ in range(len(module) - len(rest) - 1):
            folder = folder.rpartition("/")[0]
        return "/".join(part for part in (folder, *rest.split(".")) if part), True
    plain = (
        _ENDING.sub("", module) if "/" in module or re.search(r"\.(h|hpp|rb|sh|css|js|php|lua)$", module) else module
    )
    separator = r"[/\\:]+" if "/" in plain or "::" in plain else r"[.\\]+"
    parts = [part for part in re.split(separator, plain) if part not in _NO_PARTS]
    return "/".join(parts), False


def _shared(one: str, other: str) -> int:
    """How many folders two paths have in common."""
    count = 0
    for left, right in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if left != right:
            break
        count += 1
    return count
