"""jedi's own refactoring cases, asked of our tools. They come from its sdist, are cached, and are none of our files.

jedi names places by cursor, our calls by symbol and line: each case is translated, and where it cannot be (a piece of a
line for `extract_function`), it is left out and counted. jedi and rope differ in taste (where a new function goes, how
a name that nothing binds is treated), so results are compared as sets of definitions, and what must hold for all is
that nothing breaks: code that parsed parses, and what jedi refuses for good reason is refused or harmless.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from completion.refactor.calls import ActingCall, ExtractFunction, ExtractVariable, Inline, Rename
from completion.refactor.carry_out import carry_out
from completion.refactor.overlay import Overlay
from completion.refactor.scopes import leaves, scopes_of
from completion.refactor.symbols import parse, places
from tests.sdist import from_sdist

VERSION = "0.20.1"
_CASE = re.compile(
    r"^# -{5,} ?(?P<name>[^\n]*)\n(?P<before>(?:(?!\n# \+{5,}).)*\n)# \+{5,}\n(?P<after>(?:(?!\n# -{5,}).)*\n)",
    re.S | re.M,
)
_MARK = re.compile(r"(?P<until>(?:(?!#\?).)*)#\? (?P<column>\d*)(?P<kind> error| text|) ?(?P<options>[^\n]*)", re.S)


@dataclass(frozen=True)
class JediCase:
    """A case of jedi's: `line` and `column` of the cursor (1-based and 0-based), `after` None for an error."""

    tool: str
    name: str
    before: str
    line: int
    column: int
    options: dict[str, Any]
    after: str | None


@pytest.fixture(scope="module")
def folder() -> Path:
    """The unpacked cases; without a package index the test is skipped."""
    return from_sdist("jedi", VERSION, wanted=r"/test/refactor/\w+\.py$", isolated=False)


def read_cases(folder: Path) -> Iterator[JediCase]:
    """Every case of the four tools."""
    for tool in ("rename", "inline", "extract_variable", "extract_function"):
        for match in _CASE.finditer((folder / f"{tool}.py").read_text(encoding="utf-8")):
            mark = _MARK.match(match["before"])
            assert mark is not None, match["name"]
            kind = mark["kind"].strip()
            after = match["after"]
            if kind == "":
                after = patched(match["before"], after) if " import_tree" not in after else ""
            yield JediCase(
                tool=tool,
                name=match["name"].strip(),
                before=match["before"],
                line=mark["until"].count("\n") + 2,
                column=int(mark["column"]),
                options=ast.literal_eval(mark["options"]) if mark["options"] else {},
                after=None if kind == "error" else after,
            )


def patched(text: str, diff: str) -> str:
    """A text with a unified diff applied; "" for a diff of several files."""
    if diff.count("\n+++ ") != 1 or "rename from" in diff:
        return ""
    lines, made, at = text.split("\n"), [], 0
    for line in diff.split("\n"):
        if match := re.match(r"@@ -(\d+)", line):
            start = max(int(match[1]) - 1, 0)
            made += lines[at:start]
            at = start
        elif line.startswith(("---", "+++")) or not line:
            continue
        elif line[0] == "+":
            made.append(line[1:])
        else:
            if line[0] == " ":
                made.append(line[1:])
            at += 1
    return "\n".join([*made, *lines[at:]])


def translated(case: JediCase) -> ActingCall | None:
    """Our call for a case; None where our calls cannot say it."""
    lines = case.before.split("\n")
    name = case.options.get("new_name", "extracted")
    if case.tool in ("rename", "inline"):
        symbol = symbol_at(case.before, case.line, case.column)
        if symbol is None:
            return None
        return Rename(symbol=symbol, new_name=name) if case.tool == "rename" else Inline(symbol=symbol)
    until_line = case.options.get("until_line", case.line)
    until = case.options.get("until_column")
    row = lines[case.line - 1]
    if case.tool == "extract_variable":
        if until_line != case.line or not name.isidentifier():
            return None
        text = row[case.column : until] if until is not None else _leaf(case.before, case.line, case.column)
        return ExtractVariable(path="m.py", line=case.line, expression=text, new_name=name) if text.strip() else None
    if until is None and "until_line" in case.options:
        until = len(lines[until_line - 1])
    begins = case.column <= len(row) - len(row.lstrip())
    ends = until is not None and until >= len(lines[until_line - 1].rstrip())
    if not (begins and ends):
        return None
    return ExtractFunction(path="m.py", first_line=case.line, last_line=until_line, new_name=name)


def symbol_at(text: str, line: int, column: int) -> str | None:
    """The symbol that the name at a place means, as our calls name it."""
    found = scopes_of(text, "python")
    assert found is not None
    for node in leaves(found.parsed.tree.root_node):
        if node.type != "identifier" or node.start_point[0] != line - 1:
            continue
        if not node.start_point[1] <= column <= node.end_point[1]:
            continue
        binding = found.binding(node)
        if binding is None:
            return None
        starts = {found.parsed.offset(one.start_byte) for one in binding.names}
        for place in places(text, "m.py"):
            if place.start in starts:
                return f"m.py::{place.symbol.name}"
        first = min(starts)
        holders = [one for one in places(text, "m.py") if one.first <= first < one.last]
        return f"m.py::{holders[-1].symbol.name}.{binding.name}" if holders else f"m.py::{binding.name}"
    return None


def _leaf(text: str, line: int, column: int) -> str:
    parsed = parse(text, "python")
    assert parsed is not None
    for node in leaves(parsed.tree.root_node):
        if node.start_point[0] == line - 1 and node.start_point[1] <= column < node.end_point[1]:
            whole = node if node.is_named or node.parent is None else node.parent
            return (whole.text or b"").decode()
    return ""


def same(left: str, right: str) -> bool:
    """Whether two modules hold the same definitions and statements, whatever their order."""
    try:
        return Counter(map(ast.dump, _parts(ast.parse(left)))) == Counter(map(ast.dump, _parts(ast.parse(right))))
    except SyntaxError:
        return left.split() == right.split()


def _parts(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from node.body
        else:
            yield node


def judge(case: JediCase, root: Path) -> str:
    """same, refused (where jedi refuses too), stricter (refused alone), other, laxer, or untranslated."""
    call = translated(case)
    if call is None or case.after == "":
        return "untranslated"
    (root / "m.py").write_text(case.before, encoding="utf-8")
    overlay = Overlay(root)
    outcome = carry_out(call, overlay)
    if not outcome.done:
        return "refused" if case.after is None else "stricter"
    after = overlay.read("m.py")
    if _parses(case.before):
        assert _parses(after), f"{case.tool} {case.name} broke the code"
    if case.after is None:
        return "laxer"
    return "same" if same(after, case.after) else "other"


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


@pytest.mark.slow
def test_jedis_cases(folder: Path, tmp_path: Path) -> None:
    cases = list(read_cases(folder))
    assert len(cases) == 100
    verdicts: dict[str, list[str]] = {}
    for number, case in enumerate(cases):
        root = tmp_path / str(number)
        root.mkdir()
        verdicts.setdefault(judge(case, root), []).append(f"{case.tool}: {case.name}")
    told = {verdict: sorted(names) for verdict, names in verdicts.items()}
    # jedi cannot inline functions; what else it refuses, we refuse.
    assert told.get("laxer", []) == ["inline: function"], told
    assert len(told["same"]) >= 18, told
    assert len(told["refused"]) >= 18, told
    assert len(told["other"]) <= 4, told
