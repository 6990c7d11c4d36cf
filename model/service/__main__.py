"""What an engine process starts with: sys.path in order before anything of ours is imported, then `run_engine`.

Run by its path with `python -P`, so that neither the current folder nor PYTHONPATH can put another `model` first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> int:
    """Serve as the arguments say; the exit code is the error's."""
    _put_rooms_first()
    from model.errors import TerselyError
    from model.service.options import EngineOptions
    from model.service.process import run_engine

    try:
        run_engine(EngineOptions.from_arguments(sys.argv[1:]))
    except TerselyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _put_rooms_first() -> None:
    rooms = str(Path(__file__).resolve().parents[2])
    given = {os.path.abspath(entry or ".") for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    own = [entry for entry in sys.path if os.path.abspath(entry or ".") not in given]
    sys.path[:] = [rooms, *own, *(entry for entry in sys.path if entry not in own)]


if __name__ == "__main__":
    sys.exit(main())
