"""What an engine process starts with: sys.path in order before anything of ours is imported, then `run_engine`.

Run by its path with `python -P`, so that neither the current folder nor PYTHONPATH can put another `model` first.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Serve as the arguments say; the exit code is the error's."""
    rooms = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(rooms))
    from model.rooms import put_first

    put_first(rooms)
    from model.errors import TerselyError
    from model.service.options import EngineOptions
    from model.service.process import run_engine

    try:
        run_engine(EngineOptions.from_arguments(sys.argv[1:]))
    except TerselyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
