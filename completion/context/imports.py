"""Reads import statements, each language's own way, into `Import` values. Resolves nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from completion.context.facts import Import

_COMMENT = re.compile(r"#[^\n]*|//[^\n]*")
_LAYOUT = re.compile(r"#[^\n]*|\\\n|[()\n]")
_FROM = re.compile(r"\s*from\s+([.\w]+|[.\s]+[\w.]*)\s+import\s+(.*)")
_IMPORT = re.compile(r"\s*import\s+(.*)")
_QUOTED = re.compile(r"""["'<]([^"'<>]+)["'>]""")


def read_imports(language: str, statement: str) -> tuple[Import, ...]:
    """The names that one import statement binds; empty where it is not understood."""
    reader = _READERS.get(language)
    return tuple(reader(statement)) if reader else ()


def _python(statement: str) -> Iterator[Import]:
    text = _LAYOUT.sub(" ", statement)
    match = _FROM.match(text)
    if match:
        module = "".join(match[1].split())
        for name, alias in _aliased(match[2], " as "):
            yield Import(module=module, name=name, alias="" if name == "*" else alias or name)
        return
    match = _IMPORT.match(text)
    for name, alias in _aliased(match[1], " as ") if match else ():
        yield Import(module=name, name="", alias=alias or name)


def _script(statement: str) -> Iterator[Import]:
    text = _COMMENT.sub(" ", statement) if "://" not in statement else statement
    source = re.search(r"""(?:from|require\s*\(|^\s*import|=)\s*["']([^"']+)["']""", text)
    if source is None:
        return
    module = source[1]
    braces = re.search(r"\{([^}]*)\}", text)
    for name, alias in _aliased(re.sub(r"\btype\s+", "", braces[1]), " as ", ":") if braces else ():
        yield Import(module=module, name=name, alias=alias or name)
    if everything := re.search(r"\*\s*(?:as\s+(\w+))?", text):
        yield Import(module=module, name="" if everything[1] else "*", alias=everything[1] or "")
    if default := re.match(r"\s*import\s+(?:type\s+)?(\w+)\s*(?:,|from)", text):
        yield Import(module=module, name="default", alias=default[1])
    if required := re.match(r"\s*(?:const|let|var)\s+(\w+)\s*=\s*require", text):
        yield Import(module=module, name="", alias=required[1])


def _go(statement: str) -> Iterator[Import]:
    if match := re.match(r'\s*([\w.]+)?\s*"([^"]+)"', statement):
        module = match[2]
        yield Import(module=module, name="*" if match[1] == "." else "", alias=match[1] or module.rpartition("/")[2])


def _rust(statement: str) -> Iterator[Import]:
    match = re.match(r"\s*(?:pub(?:\([^)]*\))?\s+)?use\s+(.*?);?\s*$", _COMMENT.sub(" ", statement), re.DOTALL)
    for path, alias in _rust_tree(re.sub(r"\s+", " ", match[1])) if match else ():
        module, _, name = path.rpartition("::")
        if name == "self":
            module, _, name = module.rpartition("::")
        yield Import(module=module, name=name, alias="" if name == "*" else alias or name)


def _rust_tree(text: str) -> Iterator[tuple[str, str]]:
    """`a::{b, c::{d as e}}` as (`a::b`, ""), (`a::c::d`, "e")."""
    head, brace, rest = text.partition("{")
    if not brace:
        path, _, alias = text.strip().partition(" as ")
        if path.strip():
            yield path.strip(), alias.strip()
        return
    for part in _split_outside(rest[: rest.rfind("}")]):
        for path, alias in _rust_tree(part):
            yield head.strip() + path, alias


def _split_outside(text: str) -> Iterator[str]:
    """Split at commas that stand in no braces."""
    depth, start = 0, 0
    for index, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            yield text[start:index]
            start = index + 1
    yield text[start:]


def _dotted(statement: str) -> Iterator[Import]:
    """Java and C#: `import static a.b.C.d;`, `using X = A.B;`."""
    if not re.match(r"\s*(?:import|using|global)\b", statement):
        return
    text = re.sub(r"\b(?:import|using|static|global)\b|;", " ", statement)
    alias, equals, path = text.partition("=")
    path = re.sub(r"\s", "", path if equals else alias)
    module, _, name = path.rpartition(".")
    if statement.lstrip().startswith(("using", "global")) and not equals:
        yield Import(module=path, name="*", alias="")
    elif path:
        yield Import(module=module, name=name, alias="" if name == "*" else alias.strip() if equals else name)


def _php(statement: str) -> Iterator[Import]:
    if not statement.lstrip().startswith("use"):
        yield from _quoted(statement)
        return
    text = re.sub(r"^\s*use\s+(?:function\s+|const\s+)?|;", "", statement)
    head, brace, rest = text.partition("{")
    for name, alias in _aliased(rest.rstrip("} \n") if brace else text, " as "):
        path = (head.strip() if brace else "") + name
        module, _, last = path.lstrip("\\").rpartition("\\")
        yield Import(module=module.replace("\\", "."), name=last, alias=alias or last)


def _quoted(statement: str) -> Iterator[Import]:
    """Statements that name a file: include, require, source, @import, src=…"""
    match = _QUOTED.search(statement) or re.match(r"\s*(?:source|\.)\s+(\S+)", statement)
    if match:
        yield Import(module=match[1], name="*", alias="")


def _aliased(names: str, *separators: str) -> Iterator[tuple[str, str]]:
    for item in names.split(","):
        for separator in separators:
            name, found, alias = item.partition(separator)
            if found:
                break
        if name.strip():
            yield name.strip(), alias.strip()


_READERS: Mapping[str, Callable[[str], Iterator[Import]]] = MappingProxyType(
    {
        "python": _python,
        "javascript": _script,
        "typescript": _script,
        "typescriptreact": _script,
        "go": _go,
        "rust": _rust,
        "java": _dotted,
        "csharp": _dotted,
        "php": _php,
        "c": _quoted,
        "cpp": _quoted,
        "ruby": _quoted,
        "lua": _quoted,
        "shellscript": _quoted,
        "html": _quoted,
        "css": _quoted,
    }
)
