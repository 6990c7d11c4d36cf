"""The door of the refactoring process: puts the rooms first on sys.path, whatever the workspace holds."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from completion.refactor.worker import main

    sys.exit(main())
