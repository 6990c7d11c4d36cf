"""What kind of place a line is, told by its neighbours alone: so it can be told of a line that is not there yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from completion.context.facts import Definition

_OPENING = ("(", "[", "{", ",")
_DECORATED = re.compile(
    r"\s*(?:async\s+def|def|class|@|export\s|public\s|private\s|protected\s|fn|pub|func|function)\b"
)
_HEADER = re.compile(r"\s*(?:async\s+)?(?:def|fn|func|function)\b")
_OPENED = re.compile(
    r"\s*(?:(?:export|default|public|private|protected|static|abstract|async|pub(?:\([^)]*\))?|override|final)\s+)*"
    r"(def|fn|func|function|class|struct|impl|interface|trait)\s+(?:\((?P<receiver>[^)]*)\)\s*)?(?P<name>\w+)"
)
_CLASSES = frozenset({"class", "struct", "impl", "interface", "trait"})
_OPENED_LINES = 300
_DEEPEST = 3
_HEADER_LINES = 12


@dataclass(frozen=True, slots=True)
class Slot:
    """A line's place. `behind`: does the next line stand deeper (1), as deep (0), or less deep (-1)?"""

    depth: int
    """In steps of four columns, 0 … 3."""
    behind: int
    in_brackets: bool
    before_definition: bool
    """The next line defines something, as deep: here stands a decorator, if anything."""


def indentation(line: str) -> int:
    """Columns before the first character; a tab counts four."""
    blank = line[: len(line) - len(line.lstrip())]
    return len(blank) + 3 * blank.count("\t")


def slot(column: int, before: str, behind: str) -> Slot:
    """The place of a line that begins at `column`, between the nearest lines that are not blank."""
    deeper = indentation(behind) - column if behind else -1
    return Slot(
        depth=min(column // 4, _DEEPEST),
        behind=(deeper > 0) - (deeper < 0),
        in_brackets=before.rstrip().endswith(_OPENING),
        before_definition=deeper == 0 and _DECORATED.match(behind) is not None,
    )


def opened(lines: Sequence[str], row: int, column: int) -> list[Definition]:
    """The definitions whose bodies `column` of a row is in, by indentation alone, the innermost last.

    Tells of those that have no body yet, and so are no definitions to a parser.
    """
    found: list[Definition] = []
    for number in range(min(row, len(lines)) - 1, max(-1, row - _OPENED_LINES), -1):
        line = lines[number]
        if column == 0:
            break
        if not line.strip() or indentation(line) >= column:
            continue
        column = indentation(line)
        if match := _OPENED.match(line):
            kind = "class" if match[1] in _CLASSES else "function"
            receiver = (match["receiver"] or "").split("[")[0].replace("*", " ").split()
            found.append(_definition(match["name"], kind, receiver[-1] if receiver else "", number + 1, row + 1, line))
    found.reverse()
    owner = ""
    for index, one in enumerate(found):
        if one.kind == "function" and owner:
            found[index] = one._replace(kind="method", owner=owner)
        owner = one.name if one.kind == "class" else ""
    return found


def _definition(name: str, kind: str, owner: str, first_line: int, last_line: int, text: str) -> Definition:
    kind = "method" if owner else kind
    return Definition(name=name, kind=kind, owner=owner, first_line=first_line, last_line=last_line, text=text)


def in_header(lines: Sequence[str], row: int) -> bool:
    """Whether a bracket that a function's header opened is still open before this row."""
    depth = 0
    for number in range(row - 1, max(-1, row - 1 - _HEADER_LINES), -1):
        line = lines[number]
        depth += line.count("(") - line.count(")")
        if depth > 0:
            return _HEADER.match(line) is not None
    return False
