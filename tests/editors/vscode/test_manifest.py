"""The extension's manifest says what the server and the documents say."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from completion.api import Level
from lsp.settings import KEYS
from tersely import __version__
from tests.test_house import ROOT

EXTENSION = ROOT / "editors" / "vscode"
MANIFEST: dict[str, Any] = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
PROPERTIES: dict[str, Any] = MANIFEST["contributes"]["configuration"]["properties"]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_setting_of_the_server_is_offered(key: Any) -> None:
    offered = PROPERTIES[f"tersely.{key.name}"]
    default = key.default()
    assert offered["default"] == (list(default) if isinstance(default, tuple) else default)
    assert offered["description"].startswith(key.description)


def test_other_settings_are_the_editors_own() -> None:
    names = {f"tersely.{key.name}" for key in KEYS}
    assert all(name.startswith("tersely.server.") for name in PROPERTIES if name not in names)


def test_the_dial_has_every_level() -> None:
    level = PROPERTIES["tersely.level"]
    assert level["enum"] == [one.value for one in Level]
    assert len(level["enumDescriptions"]) == len(level["enum"])


def test_the_version_is_the_servers() -> None:
    assert MANIFEST["version"] == re.match(r"\d+\.\d+\.\d+", __version__)[0]  # type: ignore[index]


def test_every_command_is_registered() -> None:
    source = (EXTENSION / "src" / "commands.ts").read_text(encoding="utf-8")
    [table] = re.findall(r"const commands: .*?= \{\n(.*?)\n  \};", source, re.DOTALL)
    registered = set(re.findall(r"^    (\w+)(?::|,)", table, re.MULTILINE))
    assert registered == {one["command"].removeprefix("tersely.") for one in MANIFEST["contributes"]["commands"]}


def test_an_untrusted_workspace_cannot_say_what_is_run() -> None:
    trust = MANIFEST["capabilities"]["untrustedWorkspaces"]
    assert trust["supported"] == "limited"
    risky = {name for name in PROPERTIES if name.startswith(("tersely.server.", "tersely.engine.url", "tersely.model"))}
    assert risky <= set(trust["restrictedConfigurations"])


def test_it_runs_where_the_files_are() -> None:
    """In WSL, over SSH and in containers too; what is on no disk is only completed."""
    assert MANIFEST["extensionKind"] == ["workspace"]
    assert MANIFEST["capabilities"]["virtualWorkspaces"]["supported"] == "limited"
    [item] = [one for one in MANIFEST["contributes"]["menus"]["editor/context"] if one["command"] == "tersely.wish"]
    assert "resourceScheme == file" in item["when"]


def test_nothing_is_measured_or_sent() -> None:
    for file in (EXTENSION / "src").glob("*.ts"):
        assert not re.search(r"telemetry|fetch\(|https?\.request", file.read_text(encoding="utf-8"), re.IGNORECASE)


@pytest.mark.parametrize("folder", ["editors/vscode", "tests/editors"])
def test_the_lock_file_names_no_registry(folder: str) -> None:
    assert '"resolved"' not in (ROOT / folder / "package-lock.json").read_text(encoding="utf-8")
