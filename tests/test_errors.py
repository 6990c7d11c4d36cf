"""The exception tree: drawn as it is, each error with a hint at every place that raises it, and each with a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from model import errors
from tests.test_house import ROOMS, ROOT, files


def tree_of(folder_files: list[Path]) -> dict[str, str]:
    """Class name → base name of every error in our rooms that descends from the root."""
    bases: dict[str, str] = {}
    for path in folder_files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.bases:
                bases[node.name] = ast.unparse(node.bases[0]).rpartition(".")[2]
    family = {"TerselyError"}
    while more := {name for name, base in bases.items() if base in family} - family:
        family |= more
    return {name: bases[name] for name in family if name != "TerselyError"}


def hint_themselves(folder_files: list[Path]) -> set[str]:
    """Errors whose own constructor gives the hint, so that who raises them need not."""
    found = set()
    for path in folder_files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                makers = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
                if any(
                    isinstance(part, ast.keyword) and part.arg == "hint" for one in makers for part in ast.walk(one)
                ):
                    found.add(node.name)
    return found


SOURCES = [path for room in ROOMS for path in files(room)]
TREE = tree_of(SOURCES)
HINTED = hint_themselves(SOURCES)


def test_the_drawing_is_true() -> None:
    """Every error of `model.errors` stands in the module's picture, indented below its base."""
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.search(r"\w+Error\b", line)
        if match is None or not re.match(r"[\s│├└─]*\w+Error\b", line):
            continue
        while path and path[-1][0] >= match.start():
            path.pop()
        if path:
            drawn[match[0]] = path[-1][1]
        path.append((match.start(), match[0]))
    assert drawn == tree_of([ROOT / "model" / "errors.py"])


def raises() -> list[tuple[str, ast.Call]]:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in TREE and name not in HINTED:
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_every_error_says_what_to_do() -> None:
    assert len(raises()) > 20
    without = [place for place, call in raises() if not any(keyword.arg in ("hint", None) for keyword in call.keywords)]
    assert not without, "\n".join(without)


@pytest.mark.parametrize("name", sorted(name for name in TREE if name not in TREE.values()))
def test_every_leaf_has_a_test(name: str) -> None:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_errors.py"]
    assert any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) for path in tests), (
        f"no test mentions {name}"
    )


def test_a_message_and_its_hint_read_as_one() -> None:
    error = errors.UsageError("That is wrong.", hint="Do this.")
    assert str(error) == "That is wrong. Do this."
    assert error.exit_code == 2


def test_exit_codes_are_those_of_the_drawing() -> None:
    codes = dict(re.findall(r"(\w+Error)\s+(\d+)\b", errors.__doc__ or ""))
    assert codes
    for name, code in codes.items():
        assert getattr(errors, name).exit_code == int(code)
