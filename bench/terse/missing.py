"""Is a name ever told to be missing where none is, and is the one told the one that a missing line binds?

No model is asked. In functions of the held-out packages, an empty line is opened above a statement: whatever is told to
be missing then is told wrongly, since the code is real. Then the statement's line is taken out: what is told should be
a name that stands in it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from completion.missing import missing_names
from completion.stopping import indent_of
from completion.syntax import SyntaxTrees

_MOST_OF_A_FILE = 10
_KEPT_EXAMPLES = 20


def run(roots: list[Path]) -> dict[str, Any]:
    """Counts over all packages below `roots`."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for root in roots:
        for path, number, lines in _lines(root):
            line = lines[number]
            before, behind = "".join(lines[:number]), "".join(lines[number + 1 :])
            indent = line[: len(line) - len(line.lstrip())]
            counts["places"] += 1
            if told := _told(f"{before}{indent}\n{line}{behind}", len(before) + len(indent)):
                counts["told_where_none_is_missing"] += 1
                wrong.append(f"{root.name}/{path}:{number + 1}: {', '.join(told)}")
            if told := _told(f"{before}{indent}\n{behind}", len(before) + len(indent)):
                counts["told_where_a_line_is"] += 1
                counts["of_these_in_the_line"] += any(re.search(rf"\b{re.escape(name)}\b", line) for name in told)
    return {"packages": len(roots), **counts, "told_wrongly": wrong[:_KEPT_EXAMPLES]}


def _lines(root: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Lines of code that stand as far in as the line above: statements, nearly all of them."""
    rng = random.Random(root.name)
    for source in sorted(root.rglob("*.py")):
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        found = [
            number
            for number in range(1, len(lines))
            if lines[number].strip() and lines[number - 1].strip() and indent_of(lines[number]) > 0
            if indent_of(lines[number]) == indent_of(lines[number - 1])
        ]
        for number in rng.sample(found, min(len(found), _MOST_OF_A_FILE)):
            yield source.relative_to(root).as_posix(), number, lines


def _told(text: str, offset: int) -> list[str]:
    """What completion takes to be missing at a place."""
    syntax = SyntaxTrees().at(path="", language_id="python", text=text, offset=offset)
    if syntax is None or syntax.kind_at() != "code" or syntax.in_brackets():
        return []
    return [one.name for one in missing_names(text, offset)]
