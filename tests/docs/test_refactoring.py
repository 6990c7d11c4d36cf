"""The table of tools in docs/refactoring.md says what the calls say of themselves."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from completion.refactor.calls import TOOLS
from completion.refactor.schema import parameters

PAGE = (Path(__file__).parents[2] / "docs" / "refactoring.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_has_its_row(name: str) -> None:
    tool = TOOLS[name]
    schema = parameters(tool)
    arguments = ", ".join(f"`{one}`" if one in schema["required"] else f"`{one}`?" for one in schema["properties"])
    said = inspect.cleandoc(tool.__doc__ or "").replace("\n", " ").replace("|", "\\|")
    assert f"| `{name}` | {arguments} | {said} |" in PAGE


def test_no_row_too_many() -> None:
    rows = [line for line in PAGE.split("\n") if line.startswith("| `") and line.count(" | ") == 3]
    assert len(rows) == len(TOOLS)
