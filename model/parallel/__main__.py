"""The door of a following process: puts the rooms first on sys.path, whatever the workspace holds."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    rooms = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(rooms))
    from model.rooms import put_first

    put_first(rooms)
    from model.parallel.follower import main

    code = main()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # gloo's threads now and then abort a process that ends as others do
