"""`add_docstring`: a Python docstring, or the documentation comment of another language, given or generated."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import PurePosixPath

from completion.language import detect
from completion.refactor.calls import AddDocstring
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.plan import Fill, Hole
from completion.refactor.symbols import Place, resolve
from model.errors import RefusedError

_WIDTH = 120
_BLOCK = frozenset(
    {"javascript", "typescript", "typescriptreact", "java", "c", "cpp", "csharp", "php", "kotlin", "scala"}
)
_LINES = {"go": "//", "rust": "///", "swift": "///", "ruby": "#", "shellscript": "#", "lua": "---"}
_MOST_CHARACTERS = 2000
_INSTRUCTION = "Write the documentation of this definition in one sentence."


def add_docstring(call: AddDocstring, overlay: Overlay, *, fill: Fill | None, prefer: str = "") -> Outcome:
    """Raises `RefusedError`: no such symbol, documentation that is there, no text and no model."""
    if overlay.exists(call.symbol):
        return _of_module(call, overlay, fill)
    place = resolve(overlay, call.symbol, prefer=prefer)
    path = place.symbol.path
    language = detect(path=path).id
    if language == "python":
        changed = _python(overlay.read(path), place, call, fill, path)
    else:
        changed = _comment(overlay.read(path), place, call, fill, language)
    overlay.write(path, changed)
    return Outcome(changed=(path,))


def _python(text: str, place: Place, call: AddDocstring, fill: Fill | None, path: str) -> str:
    node = _node(text, place)
    if node is None:
        raise RefusedError(f"{call.symbol} is no function or class.", hint="Constants have no docstring.")
    lines = text.split("\n")
    first = node.body[0]
    outer = lines[node.lineno - 1]
    indent = re.match(r"\s*", outer)
    own_line = first.lineno > _colon_line(lines, node, first)
    row, column = first.lineno - 1, len(lines[first.lineno - 1].encode()[: first.col_offset].decode())
    inner = lines[row][:column] if own_line and not lines[row][:column].strip() else ""
    inner = inner or (indent[0] if indent else "") + "    "
    if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and first.decorator_list:
        row = first.decorator_list[0].lineno - 1
    if ast.get_docstring(node, clean=False) is not None:
        if not isinstance(call.text, str):
            raise RefusedError(f"{call.symbol} has a docstring.", hint="Give the text to replace it.")
        end = first.end_lineno or first.lineno
        if lines[end - 1].encode()[first.end_col_offset :].strip():
            raise RefusedError("Code follows the docstring on its line.", hint="Put it on a line of its own.")
        head, tail = lines[:row], lines[end:]
        return "\n".join([*head, *_quoted(_said(call, None, "", "", path), inner), *tail])
    if not own_line:
        head, rest = [*lines[:row], lines[row][:column].rstrip()], [inner + lines[row][column:], *lines[row + 1 :]]
    else:
        head, rest = lines[:row], lines[row:]
        while head and not head[-1].strip():
            head.pop()
        while head and head[-1].lstrip().startswith("#") and len(head) > node.lineno:
            rest.insert(0, head.pop())
    said = _said(call, fill, "\n".join(head) + f'\n{inner}"""', "\n" + "\n".join(rest), path)
    blank = [""] if isinstance(node, ast.ClassDef) and rest and rest[0].strip() else []
    return "\n".join([*head, *_quoted(said, inner), *blank, *rest])


def _of_module(call: AddDocstring, overlay: Overlay, fill: Fill | None) -> Outcome:
    """The docstring of a Python file: below its `#!` and encoding lines, above all else."""
    path, text = call.symbol, overlay.read(call.symbol)
    if detect(path=path).id != "python":
        raise RefusedError(f"{path} is no Python module.", hint="Name a symbol of it.")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise RefusedError(f"{path} has syntax errors.", hint="Repair it first.") from error
    if ast.get_docstring(tree) is not None:
        raise RefusedError(f"{path} has a docstring.", hint="Change it with edit.")
    lines = text.split("\n")
    at = 0
    while at < len(lines) and at < 2 and (lines[at].startswith("#!") or "coding" in lines[at][:40]):
        at += 1
    head, rest = lines[:at], lines[at:]
    while rest and not rest[0].strip() and len(rest) > 1:
        rest.pop(0)
    said = _said(call, fill, "\n".join([*head, '"""']), "\n\n" + "\n".join(rest), path)
    overlay.write(path, "\n".join([*head, *_quoted(said, ""), *([""] if rest[0] else []), *rest]))
    return Outcome(changed=(path,))


def _comment(text: str, place: Place, call: AddDocstring, fill: Fill | None, language: str) -> str:
    line_start = text.rfind("\n", 0, place.first) + 1
    indent = text[line_start : place.first]
    above = text[:line_start].rstrip("\n").rpartition("\n")[2].strip()
    if above.startswith(("///", "/**", "*/")) or (language == "go" and above.startswith("//")) or above.endswith("*/"):
        raise RefusedError(f"{call.symbol} is documented.", hint="Change the comment with edit.")
    if indent.strip():
        raise RefusedError(f"{call.symbol} does not begin its line.", hint="Put it on a line of its own first.")
    if language in _BLOCK:
        said = _said(call, fill, f"{text[:line_start]}{indent}/** ", " */\n" + text[line_start:], place.symbol.path)
        rows = said.replace("*/", "* /").split("\n")
        made = [f"/** {rows[0]} */"] if len(rows) == 1 else ["/**", *(f" * {row}".rstrip() for row in rows), " */"]
    elif language in _LINES:
        mark = _LINES[language]
        said = _said(call, fill, f"{text[:line_start]}{indent}{mark} ", "\n" + text[line_start:], place.symbol.path)
        made = [f"{mark} {row}".rstrip() for row in said.split("\n")]
    else:
        raise RefusedError(f"How {language} is documented is not known.", hint="Use edit.")
    return text[:line_start] + "".join(f"{indent}{row}\n" for row in made) + text[line_start:]


def _said(call: AddDocstring, fill: Fill | None, prefix: str, suffix: str, path: str) -> str:
    """The text: what was given, or what the model writes."""
    if isinstance(call.text, str):
        said = call.text
    elif fill is None:
        raise RefusedError("A docstring without a text needs a model.", hint="Give the text, or start the engine.")
    else:
        hole = Hole(prefix=prefix, suffix=suffix, path=path, language=detect(path=path).id, instruction=_INSTRUCTION)
        said = fill(hole)
        if not said.strip():  # who has nothing to begin with may go on with a sentence that is begun
            opening = _opening(call.symbol, path)
            rest = fill(replace(hole, prefix=hole.prefix + opening))
            said = opening + rest if rest.split('"""')[0].strip(" .\n") else ""
        if hole.language == "python":  # whose quotes were left open: code may come after they close
            said = said.split('"""' if '"""' in said else "\n")[0]
    said = "\n".join(line.rstrip() for line in said.strip().strip('"').strip().split("\n"))[:_MOST_CHARACTERS]
    if not said:
        raise RefusedError("There is no text to write.", hint="Give a text.")
    return said


def _opening(symbol: str, path: str) -> str:
    """How documentation may begin: `Parser.read_all` reads all. A module is named by its path."""
    name = PurePosixPath(path).stem if symbol == path else symbol.rpartition("::")[2].rpartition(".")[2]
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return " ".join(word.lower() for word in words).capitalize()


def _quoted(said: str, indent: str) -> list[str]:
    """The lines of a docstring, with its indentation."""
    raw = "r" if "\\" in said else ""
    said = said.replace('"""', "'''")
    rows = [row.strip() if number == 0 else row for number, row in enumerate(_dedented(said))]
    closing = [] if len(rows) == 1 else [f'{indent}"""']
    ending = '"""' if len(rows) == 1 else ""
    if ending and rows[0].endswith('"'):
        rows[0] += " "
    first = f'{indent}{raw}"""{rows[0]}{ending}'
    return [first, *(f"{indent}{row}" if row else "" for row in rows[1:]), *closing]


def _dedented(said: str) -> list[str]:
    first, *others = said.split("\n")
    held = [len(row) - len(row.lstrip()) for row in others if row.strip()]
    cut = min(held, default=0)
    return [first, *(row[cut:] for row in others)]


def _node(text: str, place: Place) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise RefusedError(f"{place.symbol.path} has syntax errors.", hint="Repair it first.") from error
    line = text.count("\n", 0, place.start) + 1
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.lineno == line:
            return node
    return None


def _colon_line(lines: list[str], node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, first: ast.stmt) -> int:
    """The line on which the definition's head ends."""
    before = lines[first.lineno - 1].encode()[: first.col_offset].decode()
    return first.lineno if before.strip() else max(node.lineno, first.lineno - 1)
