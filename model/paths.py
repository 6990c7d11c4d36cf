"""Where tersely keeps its files, per user and platform. `TERSELY_HOME` moves all of them under one folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs

_APP = "tersely"


def _home() -> Path | None:
    home = os.environ.get("TERSELY_HOME")
    return Path(home).expanduser().absolute() if home else None


def cache_dir() -> Path:
    """Models and indexes: can be deleted at any time, at the price of fetching or building them again."""
    home = _home()
    return home / "cache" if home else platformdirs.user_cache_path(_APP, appauthor=False)


def models_dir() -> Path:
    """Fetched checkpoints."""
    return cache_dir() / "models"


def config_dir() -> Path:
    """What the user writes by hand."""
    home = _home()
    return home / "config" if home else platformdirs.user_config_path(_APP, appauthor=False)


def state_dir() -> Path:
    """Logs and the acceptance log."""
    home = _home()
    return home / "state" if home else platformdirs.user_state_path(_APP, appauthor=False)


def log_dir() -> Path:
    """Rotated log files of the engine and the server."""
    return state_dir() / "log"


def runtime_dir() -> Path:
    """Sockets, locks and tokens of running engines; created for this user alone (0700)."""
    home = _home()
    if home:
        folder = home / "run"
    elif sys.platform == "linux" and not os.environ.get("XDG_RUNTIME_DIR"):
        # Without a login session there is no such folder, and one under /tmp could be somebody else's.
        folder = state_dir() / "run"
    else:
        folder = platformdirs.user_runtime_path(_APP, appauthor=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
