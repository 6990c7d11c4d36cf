"""What the documents say is what the code has."""

from __future__ import annotations

import re

from lsp.settings import KEYS, shown
from tersely.cli import app
from tests.test_house import ROOT


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for key in KEYS:
        assert f"| `tersely.{key.name}` | `{shown(key.default())}` | {key.description} |" in page


def test_every_command_is_in_the_readme() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]
    assert names
    for name in names:
        assert f"`tersely {name}" in page


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
