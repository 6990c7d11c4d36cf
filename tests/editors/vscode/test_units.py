"""The extension's own tests of its logic, which need no editor."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.editors.vscode import code_server

pytestmark = pytest.mark.node


def test_the_logic_of_the_extension() -> None:
    code_server.prepare()
    command = ["npm", "test", "--silent"]
    done = subprocess.run(command, cwd=code_server.EXTENSION, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) > 0
