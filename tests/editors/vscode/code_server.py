"""A real VS Code: code-server from the npm registry, with the extension as it is packaged here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.editors.tools import ROOT, cached, run_or_skip

EXTENSION = ROOT / "editors" / "vscode"
VERSION = "4.100.3"
"""The last that runs under Node.js 20."""
NODE_MAJOR = 20
WHAT = "VS Code"
START_S = 60.0


def install() -> Path:
    """The file that starts code-server."""
    node = run_or_skip(WHAT, "node", "--version", timeout_s=30).strip()
    if node.removeprefix("v").split(".")[0] != str(NODE_MAJOR):
        pytest.skip(f"{WHAT}: code-server {VERSION} needs Node.js {NODE_MAJOR}, not {node}")
    return cached(f"code-server-{VERSION}", _build) / "node_modules" / "code-server" / "out" / "node" / "entry.js"


def _build(folder: Path) -> None:
    ripgrep = shutil.which("rg")
    if ripgrep is None:
        pytest.skip(f"{WHAT}: ripgrep is not installed; apt-get install ripgrep build-essential libkrb5-dev chromium")
    npm = ("npm", "--yes", "--no-audit", "--no-fund")
    quiet = ("install", "--ignore-scripts")
    run_or_skip(WHAT, *npm, *quiet, "--prefix", folder, f"code-server@{VERSION}", timeout_s=300)
    run_or_skip(WHAT, *npm, "rebuild", "argon2", cwd=folder, timeout_s=300)
    inner = folder / "node_modules" / "code-server" / "lib" / "vscode"
    run_or_skip(WHAT, *npm, *quiet, "--omit=dev", cwd=inner, timeout_s=300)
    link = inner / "node_modules" / "@vscode" / "ripgrep" / "bin" / "rg"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(ripgrep)
    run_or_skip(WHAT, *npm, "rebuild", cwd=inner, timeout_s=600)
    (inner / "node_modules.asar").symlink_to("node_modules")


def prepare() -> None:
    """Have what builds the extension."""
    if not (EXTENSION / "node_modules" / "esbuild").is_dir():
        run_or_skip(WHAT, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=EXTENSION, timeout_s=180)


def package(folder: Path) -> Path:
    """The extension as users get it: a .vsix made by the package's own script."""
    prepare()
    command = ["npm", "run", "--silent", "package", "--", "--out", str(folder / "tersely.vsix")]
    done = subprocess.run(command, cwd=EXTENSION, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "tersely.vsix"


def install_extension(entry: Path, home: Path, vsix: Path) -> None:
    """As a user does with "Install from VSIX…"."""
    command = ["node", str(entry), "--install-extension", str(vsix), *_folders(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert "successfully installed" in done.stdout, done.stdout + done.stderr


def _folders(home: Path) -> list[str]:
    return ["--user-data-dir", str(home / "data"), "--extensions-dir", str(home / "extensions")]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def serving(entry: Path, home: Path, workspace: Path, settings: Mapping[str, object]) -> Iterator[str]:
    """A running code-server; its address with the workspace opened."""
    for kind in ("User", "Machine"):
        # Settings that belong to a machine are read from the second of these in a browser.
        folder = home / "data" / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    port = _free_port()
    quiet = ["--disable-telemetry", "--disable-update-check", "--disable-workspace-trust"]
    listen = ["--auth", "none", "--bind-addr", f"127.0.0.1:{port}"]
    with (home / "code-server.log").open("wb") as log:
        process = subprocess.Popen(
            ["node", str(entry), *listen, *_folders(home), *quiet, str(workspace)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            _wait(f"http://127.0.0.1:{port}/healthz", process)
            yield f"http://127.0.0.1:{port}/?folder={workspace}"
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail("code-server did not start")
