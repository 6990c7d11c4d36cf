"""`organize_imports`: ruff sorts a Python file's imports as its project says, and drops those that nothing uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from completion.language import detect
from completion.refactor.calls import OrganizeImports
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from model.errors import RefusedError
from model.rooms import environment

_BOUNDED = Path(__file__).with_name("bounded.py")
_TIME_LIMIT_S = 20.0


def organize_imports(call: OrganizeImports, overlay: Overlay) -> Outcome:
    """Raises `RefusedError`: not Python, broken code, or imports that are in order."""
    text = overlay.read(call.path)
    if detect(path=call.path).id != "python":
        raise RefusedError("Imports can be organized in Python alone.", hint="Use edit.")
    wanted = ["check", "--select", "I,F401", "--fix", "--exit-zero", "--quiet", "--no-cache"]
    done = ruff([*wanted, f"--stdin-filename={call.path}", "-"], text, overlay)
    if done is None:  # the project's configuration is not for this ruff
        done = ruff([*wanted, "--isolated", f"--stdin-filename={call.path}", "-"], text, overlay)
    if not done:
        raise RefusedError(f"{call.path} has syntax errors.", hint="Repair them first.")
    if done == text:
        raise RefusedError("The imports are in order.", hint="Nothing is to be changed.")
    overlay.write(call.path, done)
    return Outcome(changed=(call.path,))


def ruff(arguments: list[str], text: str, overlay: Overlay) -> str | None:
    """Run ruff over a text, with the root as its folder; None where it fails."""
    try:
        done = subprocess.run(
            # Without -P, Python would look for ruff in the workspace first, and run what it finds there.
            [sys.executable, "-P", str(_BOUNDED), "ruff", *arguments],
            input=text.encode(),
            capture_output=True,
            cwd=overlay.root,
            env=environment() | {"RAYON_NUM_THREADS": "1"},
            timeout=_TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:  # its configuration names a pipe, say
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
