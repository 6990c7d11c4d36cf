"""Where the rooms come on sys.path, here and in the processes that we start. Every door goes through this one.

Run by its path with `python -P`, a door first inserts the folder that holds the rooms, so that it finds this module.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def put_first(rooms: Path) -> None:
    """Arrange sys.path: the rooms' parent first, and last what PYTHONPATH or the current folder put there.

    Must run before any other room is imported.
    """
    first = str(rooms)
    outside = {os.path.abspath(entry or ".") for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    outside.add(os.getcwd())
    others = [entry for entry in sys.path if entry != first]
    front = [entry for entry in others if os.path.abspath(entry or ".") not in outside]
    sys.path[:] = [first, *front, *(entry for entry in others if entry not in front)]


def environment() -> dict[str, str]:
    """What a process that we start gets: relative entries of PYTHONPATH meant the workspace that we stand in."""
    found = dict(os.environ)
    paths = [entry for entry in found.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    if paths:
        found["PYTHONPATH"] = os.pathsep.join(paths)
    return found
