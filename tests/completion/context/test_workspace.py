"""Context on the event loop: indexers start with the first question, and end with the workspace."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from completion.api import CompletionRequest
from completion.context.rank import Budget
from completion.context.workspace import Workspace
from tests.cursor import at_cursor
from tests.test_house import ROOT


def request_in(root: Path, source: str, path: str = "main.py") -> CompletionRequest:
    text, offset = at_cursor(source)
    return CompletionRequest(text=text, offset=offset, path=path, root=str(root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "money.py").write_text("def parse_money(text):\n    return text\n")
    return root


async def until_found(workspace: Workspace, request: CompletionRequest, text: str) -> None:
    for _ in range(100):
        workspace._retrievers[str(request.root)]._held.clear()
        snippets = await workspace.snippets(request, Budget())
        if any(text in one.text for one in snippets):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{text} was not found")


async def test_a_single_question_gets_an_answer_from_the_repository(root: Path) -> None:
    workspace = Workspace(time_limit_ms=None, first_wait_s=60)
    (snippet,) = await workspace.snippets(request_in(root, "from money import parse_money\n\nx = ‸\n"), Budget())
    assert (snippet.path, snippet.text) == ("money.py", "def parse_money(text):\n    return text")
    await workspace.aclose()


async def test_nothing_starts_before_the_first_question_and_nothing_is_left_behind(root: Path) -> None:
    workspace = Workspace(time_limit_ms=None, first_wait_s=60)
    workspace.set_roots([str(root)])
    workspace.document_changed(str(root), "main.py", "x = 1\n", None)
    workspace.document_saved(str(root), "main.py")
    workspace.document_closed(str(root), "main.py")
    assert _indexers(root) == []
    await workspace.snippets(request_in(root, "‸"), Budget())
    assert len(_indexers(root)) == 1
    await workspace.aclose()
    await workspace.aclose()
    assert _indexers(root) == []


async def test_saves_and_buffers_are_followed(root: Path) -> None:
    workspace = Workspace(time_limit_ms=None, first_wait_s=60)
    workspace.set_roots([str(root)])
    question = request_in(root, "from money import parse_money, fresh\n\nx = ‸\n")
    await workspace.snippets(question, Budget())
    await until_found(workspace, question, "parse_money")
    workspace.document_changed(str(root), "money.py", "def fresh(buffer):\n    return buffer\n", "python")
    await until_found(workspace, question, "fresh(buffer)")
    (root / "money.py").write_text("def fresh(saved):\n    return saved\n")
    workspace.document_saved(str(root), "money.py")
    workspace.document_closed(str(root), "money.py")
    await until_found(workspace, question, "fresh(saved)")
    await workspace.aclose()


async def test_a_buffer_is_shown_elsewhere_as_it_was_left(root: Path) -> None:
    workspace = Workspace(index=False, time_limit_ms=None)
    workspace.set_roots([str(root)])
    for typed in ("", "r", "re", "return text"):
        source = f"def parse_coins(text):\n    {typed}‸\n"
        workspace.document_changed(str(root), "coins.py", source.replace("‸", ""), "python")
        await workspace.snippets(request_in(root, source, path="coins.py"), Budget())
    elsewhere = request_in(root, "from coins import parse_coins\n\nx = ‸\n")
    (snippet,) = await workspace.snippets(elsewhere, Budget())
    assert (snippet.path, snippet.text) == ("coins.py", "def parse_coins(text):\n    return text")
    await workspace.aclose()


@pytest.mark.parametrize(("path", "shown"), [("secrets.py", 0), ("settings.py", 1)])
async def test_an_open_file_of_secrets_is_shown_to_no_other(root: Path, path: str, shown: int) -> None:
    workspace = Workspace(index=False, time_limit_ms=None)
    workspace.set_roots([str(root)])
    workspace.document_changed(str(root), path, "def pin_of(name):\n    return 4711\n", "python")
    await workspace.snippets(request_in(root, "‸", path="first.py"), Budget())
    question = request_in(root, f"from {path[:-3]} import pin_of\n\nx = pin_of(‸\n")
    assert len(await workspace.snippets(question, Budget())) == shown
    await workspace.aclose()


async def test_a_root_that_is_let_go_is_no_longer_indexed(root: Path) -> None:
    workspace = Workspace(time_limit_ms=None, first_wait_s=60)
    workspace.set_roots([str(root)])
    await workspace.snippets(request_in(root, "‸"), Budget())
    workspace.set_roots([])
    for _ in range(100):
        if not _indexers(root):
            break
        await asyncio.sleep(0.1)
    assert _indexers(root) == []
    await workspace.aclose()


@pytest.mark.parametrize("where", ["home", "disk", "nowhere", "no root"])
async def test_what_is_no_project_is_not_indexed(root: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("USERPROFILE", str(root))
    folder = {"home": root, "disk": Path(root.anchor), "nowhere": root / "nowhere", "no root": None}[where]
    text, offset = at_cursor("from money import parse_money\nx = ‸\n")
    request = CompletionRequest(text=text, offset=offset, path="a.py", root=None if folder is None else str(folder))
    workspace = Workspace(time_limit_ms=None, first_wait_s=60)
    assert await workspace.snippets(request, Budget()) == ()
    assert folder is None or _indexers(folder) == []
    await workspace.aclose()


async def test_without_an_index_only_buffers_are_known(root: Path) -> None:
    workspace = Workspace(index=False, time_limit_ms=None, first_wait_s=60)
    workspace.set_roots([str(root)])
    workspace.document_changed(str(root), "open.py", "def seen(): return 1\n", None)
    snippets = await workspace.snippets(
        request_in(root, "from money import parse_money\nx = seen‸\n"), Budget(least_score=0)
    )
    assert [one.path for one in snippets] == ["open.py"]
    assert _indexers(root) == []
    await workspace.aclose()


def test_the_servers_way_in_loads_no_parser_and_no_database() -> None:
    heavy = ["tree_sitter", "sqlite3", "pathspec", "watchdog"]
    code = f"import sys, completion.connect; print([name for name in {heavy} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def _indexers(root: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and str(root) in process.cmdline()
    ]
