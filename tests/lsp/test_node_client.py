"""The server as an independent client sees it: `vscode-languageserver-protocol` under Node.js."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lsp.client import ROOT, SERVER

CLIENT = Path(__file__).parent / "node"
UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH", "ENOTCACHED")

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> str:
    """Node.js, with the client's one dependency installed beside it."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("Node.js and npm are not installed: the independent client cannot run")
    if not (CLIENT / "node_modules" / "vscode-languageserver-protocol").is_dir():
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, check=False)
        if done.returncode and any(code in done.stderr for code in UNREACHABLE):
            pytest.skip("npm reaches no registry: the independent client cannot be installed")
        assert done.returncode == 0, done.stderr
    return found


@pytest.fixture(scope="module")
def saw(node: str) -> dict[str, Any]:
    """What the client saw in one conversation."""
    done = subprocess.run(
        [node, str(CLIENT / "client.js"), *SERVER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


def test_the_lock_file_names_no_registry():
    assert "resolved" not in (CLIENT / "package-lock.json").read_text()


def test_capabilities(saw: dict[str, Any]):
    capabilities = saw["initialize"]["capabilities"]
    assert capabilities["inlineCompletionProvider"] == {}
    assert capabilities["positionEncoding"] == "utf-16"
    assert "completionProvider" not in capabilities
    assert saw["initialize"]["serverInfo"]["name"] == "tersely"


def test_an_item(saw: dict[str, Any]):
    [item] = saw["astral"]["items"]
    end = {"line": 1, "character": 5}
    assert (item["insertText"], item["filterText"], item["range"]) == ("ghost()", "ghost()", {"start": end, "end": end})
    assert item["command"]["command"] == "tersely.accepted"
    assert saw["state"]["paths"][0] == "src/a.py"


def test_several_items_when_invoked_and_one_that_extends_the_menu(saw: dict[str, Any]):
    assert [item["insertText"] for item in saw["invoked"]["items"]] == ["one()", "two()", "three()"]
    [item] = saw["selected"]["items"]
    assert item["insertText"] == "consoleghost()"
    assert item["range"] == {"start": {"line": 3, "character": 0}, "end": {"line": 3, "character": 3}}
    assert item["filterText"].startswith("con")


def test_superseded_stale_and_cancelled(saw: dict[str, Any]):
    assert len(saw["newer"]["items"]) == 1
    assert saw["superseded"]["items"] == saw["stale"]["items"] == []
    assert saw["cancelCode"] == -32800
    assert saw["state"]["cancelled"] == 3


def test_settings_status_and_progress(saw: dict[str, Any]):
    assert saw["registered"] == ["workspace/didChangeConfiguration"]
    [message] = saw["messages"]
    assert '"tersely.maxTokens"' in message
    assert {status["kind"] for status in saw["statuses"]} == {"Normal", "Busy"}
    assert (saw["progress"][0], saw["progress"][-1]) == ("begin", "end")


def test_the_end(saw: dict[str, Any]):
    assert (saw["accepted"], saw["shutdown"], saw["exitCode"]) == (None, None, 0)
