"""Cases of refactorings as readable files: what stands before, the call, what stands after.

=== title
{"name": "rename", …}          the call, as JSON, on one line or more
--- path                       a file before; without any, the files of the case above
+++ path                       a file after; files that are not listed stay as they are
xxx path                       a file that is gone after
??? path:line why              an extra that is offered, in order
... note                       a note
!!! words                      the refusal holds these words; nothing may have changed
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from completion.refactor.calls import ActingCall
from completion.refactor.carry_out import carry_out
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.plan import Hole
from completion.refactor.schema import decode

FOLDER = Path(__file__).parent / "cases"


@dataclass
class Case:
    """One case; `after` and `gone` hold what differs from `before`."""

    title: str
    call: str = ""
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""


def read_cases(file: Path) -> list[Case]:
    """All cases of a file."""
    cases: list[Case] = []
    into: list[str] = []
    sections: list[tuple[str, str, list[str]]] = []
    for line in file.read_text(encoding="utf-8").split("\n"):
        mark, _, rest = line.partition(" ")
        if mark in ("===", "---", "+++", "xxx", "???", "...", "!!!") and rest:
            into = []
            sections.append((mark, rest, into))
        else:
            into.append(line)
    for mark, rest, lines in sections:
        text = "\n".join(lines).rstrip("\n")
        if mark == "===":
            cases.append(Case(rest, call=text))
        elif mark == "---":
            cases[-1].before[rest] = text + "\n" if text else ""
        elif mark == "+++":
            cases[-1].after[rest] = text + "\n" if text else ""
        elif mark == "xxx":
            cases[-1].gone.append(rest)
        elif mark == "???":
            cases[-1].extras.append(rest)
        elif mark == "...":
            cases[-1].notes.append(rest)
        else:
            cases[-1].refused = rest
    for number, case in enumerate(cases):
        if not case.before:
            case.before = dict(cases[number - 1].before)
    return cases


def write_files(root: Path, files: dict[str, str]) -> None:
    """Put a case's files on disk."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")


def fill(hole: Hole) -> str:
    """The model of these tests: it says what it was asked, as a comment or sentence."""
    if hole.language != "python":
        return "const filled = 1;"
    return f"# {hole.instruction}\nfilled = {len(hole.suffix.split())}" if hole.instruction.islower() else "Say it."


def run(case: Case, root: Path) -> tuple[Outcome, dict[str, str], list[str]]:
    """The outcome, the texts of changed files, and the paths of removed ones."""
    write_files(root, case.before)
    data = msgspec.json.decode(case.call)
    name = data.pop("name")
    call: ActingCall = decode(name, data)  # type: ignore[assignment]
    overlay = Overlay(root)
    outcome = carry_out(call, overlay, fill=fill)
    changes = overlay.changes()
    after = {one.path: one.after for one in changes if one.after is not None}
    return outcome, after, [one.path for one in changes if one.after is None]
