"""The rules of the house: which way imports run, what stays light, and that style and types are clean."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("tersely", "lsp", "completion", "model", "editors")

MAY_IMPORT = {
    "tersely": {"tersely", "lsp", "editors", "completion", "model"},
    "lsp": {"lsp", "completion"},
    "editors": {"editors", "completion"},
    "completion": {"completion", "model"},
    "model": {"model"},
}
# The exception tree and the seam's plain data are everybody's.
EVERYBODYS = {"model.errors", "model.api", "model.rooms", "model.status"}
ONLY_IN_LSP = {"pygls", "lsprotocol"}
HEAVY = {"torch", "xformers", "triton", "numpy", "transformers"}


def files(room: str) -> list[Path]:
    found = [path for path in (ROOT / room).rglob("*.py") if "node_modules" not in path.parts]
    assert found, f"no Python files in {room}"
    return sorted(found)


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every imported module, its line, and whether it is imported as the file is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(node) for function in ast.walk(tree) if _is_function(function) for node in ast.walk(function)}
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        at_import = id(node) not in inner and id(node) not in typing_only
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            module = node.module or ""
            yield module, node.lineno, at_import
            yield from ((f"{module}.{alias.name}", node.lineno, at_import) for alias in node.names)


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(room)
        for module, line, _ in imports(path)
        if module.split(".")[0] in ROOMS
        and module.split(".")[0] not in MAY_IMPORT[room]
        and ".".join(module.split(".")[:2]) not in EVERYBODYS
        and module != "model"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "lsp"])
def test_only_the_lsp_room_knows_the_protocol(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files(room)
        for module, line, _ in imports(path)
        if module.split(".")[0] in ONLY_IN_LSP
    ]
    assert not wrong


@pytest.mark.parametrize("room", ["lsp", "completion", "editors"])
def test_no_tensors_outside_the_model_room(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(room)
        for module, line, _ in imports(path)
        if module.split(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_the_servers_way_in_stays_light() -> None:
    code = (
        "import sys; from tersely import rooms; rooms.put_first(); import lsp.main, completion.connect;"
        f"print([name for name in {sorted(HEAVY)} if name in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_style_and_types(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
