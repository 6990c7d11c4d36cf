"""From a source text to its facts: definitions as snippets, and imports. Reads no file and keeps nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from completion.context.facts import MAX_DEFINITIONS, MAX_NAME, Definition, Facts, Found, Import
from completion.context.grammars import Grammar, grammar
from completion.context.imports import read_imports
from completion.context.python_outline import outline

if TYPE_CHECKING:
    from tree_sitter import Node

_HELPERS = frozenset({"name", "body", "receiver"})
_CONTAINERS = frozenset({"class", "module", "scope"})
_WRAPPERS = frozenset({"decorated_definition", "export_statement", "template_declaration"})
_WHOLE_LINES = 6
"""A function of no more lines is shown whole: its body says as much as its signature."""
_SIGNATURE_LINES = 8
_LINE_CHARACTERS = 200
_DOC_CHARACTERS = 100
_COMMENT_MARKS = ("///", "//!", "//", "/**", "/*", "*/", "*", "##", "#", "--", "--[[", ";;")
_PYTHON_DOC = re.compile(r"""^\s*[rRuU]?(\"\"\"|'''|"|')\s*(.*)""")
_TAG = re.compile(r"</?[a-z]\w*(?:\s[^<>]*)?/?>")
_RECEIVER = re.compile(r"(\w+)\s*(?:\[[^\]]*\])?\s*\)?\s*$")


def extract(text: str, language: str) -> Facts:
    """Definitions and imports of a text. Broken code gives what can be told of it; unknown languages give nothing."""
    read = outline(text) if language == "python" else None
    return extract_by_grammar(text, language) if read is None else _facts(text, language, *read)


def extract_by_grammar(text: str, language: str) -> Facts:
    """The same by tree-sitter: the only way for most languages, and the reference for Python."""
    found = grammar(language)
    if found is None:
        return Facts(language=language)
    return _facts(text, language, *_query(found, text.encode("utf-8", "replace"), language))


def _facts(text: str, language: str, definitions: list[Found], imports: list[Import]) -> Facts:
    return Facts(
        language=language,
        definitions=tuple(_define(definitions, text.split("\n"), language)),
        imports=tuple(dict.fromkeys(imports)),
    )


def _query(found: Grammar, source: bytes, language: str) -> tuple[list[Found], list[Import]]:
    from tree_sitter import QueryCursor

    definitions: dict[tuple[int, str], Found] = {}
    imports: list[Import] = []
    tree = found.parser.parse(source)
    for _, captures in QueryCursor(found.query).matches(tree.root_node):
        if "import" in captures:
            statement = captures["import"][0].text or b""
            imports += read_imports(language, statement.decode("utf-8", "replace"))
            continue
        for kind, nodes in captures.items():
            if kind in _HELPERS or kind.startswith("_"):
                continue
            one = _found(kind, nodes[0], captures)
            if one is not None and len(definitions) < MAX_DEFINITIONS:
                definitions.setdefault((one.start, one.name), one)
    return sorted(definitions.values(), key=lambda one: (one.start, -one.end)), imports


def _found(kind: str, node: Node, captures: dict[str, list[Node]]) -> Found | None:
    names = captures.get("name", [node])
    name = (names[0].text or b"").decode("utf-8", "replace").strip()
    if not name or len(name) > MAX_NAME or "\n" in name:
        return None
    parent = node.parent
    if parent is not None and parent.type in _WRAPPERS:
        node = parent
    body = captures["body"][0] if "body" in captures else None
    receiver = (captures["receiver"][0].text or b"").decode("utf-8", "replace") if "receiver" in captures else ""
    first_row = node.start_point[0]
    last_row, last_column = node.end_point
    if last_column == 0 and last_row > first_row:
        last_row -= 1
    body_row, body_column = body.start_point if body else (first_row, -1)
    return Found(
        kind=kind,
        name=name,
        start=node.start_byte,
        end=node.end_byte,
        first_row=first_row,
        last_row=last_row,
        body_row=body_row,
        body_column=body_column,
        receiver=receiver,
    )


def _define(found: list[Found], lines: list[str], language: str) -> list[Definition]:
    """Give each definition its owner, and drop what is local to a function."""
    made: list[Definition] = []
    open_: list[Found] = []
    fields: set[tuple[str, str]] = set()
    for one in found:
        while open_ and open_[-1].end <= one.start:
            open_.pop()
        holder = open_[-1] if open_ else None
        owner = next((outer.name for outer in reversed(open_) if outer.kind in _CONTAINERS), "")
        if one.receiver and (match := _RECEIVER.search(one.receiver)):
            owner = match[1]
        if one.kind == "scope":
            open_.append(one)
            continue
        in_function = holder is not None and holder.kind not in _CONTAINERS
        if one.kind == "field":
            if not owner or (owner, one.name) in fields:
                continue
            fields.add((owner, one.name))
        elif in_function:
            continue
        kind = (
            "method"
            if one.kind == "function" and holder is not None and holder.kind in ("class", "scope")
            else one.kind
        )
        made.append(
            Definition(
                name=one.name,
                kind=kind,
                owner=owner,
                first_line=one.first_row + 1,
                last_line=one.last_row + 1,
                text=_shown(one, lines, language),
            )
        )
        if one.kind not in ("field", "constant", "type"):
            open_.append(one)
    return made


def _shown(one: Found, lines: list[str], language: str) -> str:
    """The signature with a short documentation; a short function whole."""
    if one.kind in ("field", "constant", "type") or one.body_column < 0:
        return _clip(lines[one.first_row : min(one.last_row + 1, one.first_row + _WHOLE_LINES)])
    whole = one.last_row - one.first_row < _WHOLE_LINES
    if whole and one.kind not in _CONTAINERS:
        return _clip(lines[one.first_row : one.last_row + 1])
    if language == "python":
        head = lines[one.first_row : min(one.body_row, one.first_row + _SIGNATURE_LINES)] or [lines[one.first_row]]
        doc = _python_doc(lines, one.body_row)
        return _clip([*head, *doc])
    end_row = min(one.body_row, one.first_row + _SIGNATURE_LINES)
    first_of_body = lines[one.body_row].lstrip() if one.body_row < len(lines) else ""
    # Behind `def f(x)` the body has lines of its own; a brace belongs to the signature, wherever it stands.
    apart = one.body_row > one.first_row and len(lines[one.body_row]) - len(first_of_body) == one.body_column
    head = lines[one.first_row : end_row + (0 if apart and not first_of_body.startswith("{") else 1)]
    return _clip([*_comment_above(lines, one.first_row, language), *head])


def _python_doc(lines: list[str], row: int) -> list[str]:
    line = lines[row] if row < len(lines) else ""
    match = _PYTHON_DOC.match(line)
    if match is None:
        return []
    first = match[2].split(match[1])[0].strip()
    if not first and row + 1 < len(lines):
        first = lines[row + 1].split(match[1])[0].strip()
    indent = line[: len(line) - len(line.lstrip())]
    return [f'{indent}"""{first[:_DOC_CHARACTERS]}"""'] if first else []


def _comment_above(lines: list[str], row: int, language: str) -> list[str]:
    """The first sentence of the comment that stands right above a line."""
    said = ""
    for above in range(row - 1, max(-1, row - 30), -1):
        line = lines[above].strip()
        if not line.startswith(_COMMENT_MARKS):
            break
        words = _TAG.sub("", line).strip("/*!#-; \t")
        if words and not words.startswith("@"):
            said = words
    if not said:
        return []
    line = lines[row]
    if language == "css":
        return [f"/* {said[:_DOC_CHARACTERS]} */"]
    mark = "--" if lines[row - 1].lstrip().startswith("--") else "#" if lines[row - 1].lstrip()[:1] == "#" else "//"
    return [f"{line[: len(line) - len(line.lstrip())]}{mark} {said[:_DOC_CHARACTERS]}"]


def _clip(lines: list[str]) -> str:
    return "\n".join(line.rstrip()[:_LINE_CHARACTERS] for line in lines).strip("\n")
