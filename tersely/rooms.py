"""Where the rooms live, and how they come first on sys.path whatever the user's workspace holds.

In a checkout the rooms are folders beside `tersely/`; in the wheel they lie inside it. Either way their parent goes
to the front of sys.path, and what PYTHONPATH or the current folder put there goes to the back: a workspace with a
`model.py` of its own must not shadow ours.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def home() -> Path:
    """The folder that holds `lsp/`, `completion/`, `model/` and `editors/`."""
    return _HERE if (_HERE / "model").is_dir() else _HERE.parent


def put_first() -> None:
    """Arrange sys.path. Must run before any room is imported."""
    sys.path.insert(0, str(home()))
    from model.rooms import put_first as arrange

    arrange(home())
