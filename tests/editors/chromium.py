"""A headless Chromium, driven by a script of Node's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.editors.tools import run_or_skip

WHAT = "Chromium"
FOLDER = Path(__file__).parent
"""Where the driver's own packages lie, for the scripts in the folders below."""


def chromium() -> str:
    """The command; without one, the tests that need it are skipped."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip(f"{WHAT}: it is not installed; apt-get install chromium")
    return found


def prepare() -> None:
    """Have Chromium, and what drives it."""
    chromium()
    if not all((FOLDER / "node_modules" / name).is_dir() for name in ("playwright-core", "axe-core")):
        run_or_skip(WHAT, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=FOLDER, timeout_s=180)


def drive(script: Path, *arguments: str | Path, timeout_s: float = 400) -> dict[str, object]:
    """What a script saw: it gets the browser's command first, and prints JSON."""
    command = ["node", script, chromium(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
