"""Blank lines around what rope moves or extracts, which it leaves out: two at the top level, one in a class.

Only where a definition has come to stand beside another line than before; the rest of a file stays as it is.
"""

from __future__ import annotations

import re
from itertools import pairwise

_DEFINES = re.compile(r"(async\s+def|def|class|@)\b|@")
_IMPORTS = re.compile(r"(import|from)\s")


def tidy(before: str, after: str) -> str:
    """The text after a change, with blank lines where new neighbours need them."""
    known = set(_neighbours(before.split("\n")))
    lines = after.split("\n")
    made: list[str] = []
    last = ""
    for line in lines:
        if line.strip() and last and (last, line) not in known:
            wanted = _wanted(made, last, line)
            have = len(made) - len("\n".join(made).rstrip("\n").split("\n"))
            made += [""] * max(0, wanted - have)
            if have > wanted >= 1:
                del made[len(made) - (have - wanted) :]
        made.append(line)
        last = line if line.strip() else last
    return "\n".join(made)


def _neighbours(lines: list[str]) -> list[tuple[str, str]]:
    full = [line for line in lines if line.strip()]
    return list(pairwise(full))


def _wanted(above: list[str], last: str, line: str) -> int:
    """How many blank lines belong between two lines; 0 where it does not matter."""
    indent = len(line) - len(line.lstrip())
    if last.lstrip().startswith(("@", "#")) and len(last) - len(last.lstrip()) == indent:
        return 0
    text = line.lstrip()
    if indent == 0:
        body_ended = last[:1] in (" ", "\t") and _in_definition(above)
        if _DEFINES.match(text) or (
            body_ended and not text.startswith((")", "]", "}", "else", "except", "finally", "elif"))
        ):
            return 2
        return int(bool(_IMPORTS.match(last)) and not _IMPORTS.match(text))
    shallower = len(last) - len(last.lstrip()) > indent
    return int(bool(_DEFINES.match(text)) and shallower)


def _in_definition(above: list[str]) -> bool:
    top = next((line for line in reversed(above) if line[:1].strip()), "")
    return bool(_DEFINES.match(top))
