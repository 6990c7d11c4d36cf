"""The packages that the context bench asks about, and who may look at them.

All are held out of every training corpus. One half is for tuning: whoever changes the retriever looks at what it misses
there. The other half reports, and is not looked at. Weights are fitted on neither.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from model.paths import cache_dir

HELD_OUT = (
    "more-itertools", "boltons", "tinydb", "toolz", "attrs", "cattrs", "structlog", "marshmallow", "parso", "peewee",
    "returns", "trio", "litestar", "fastmcp", "flask", "requests", "tornado", "scrapy", "celery", "jedi", "rope",
    "werkzeug", "networkx", "rich", "starlette",
)  # fmt: skip
TUNING, REPORTING = HELD_OUT[0::2], HELD_OUT[1::2]


def fetch(names: tuple[str, ...], folder: Path | None = None) -> list[Path]:
    """One folder a package, with its modules as they would be installed; fetched as wheels where they are not there."""
    folder = folder or cache_dir() / "bench" / "held-out"
    folder.mkdir(parents=True, exist_ok=True)
    roots = []
    for name in names:
        root = folder / name
        if not root.exists():
            with tempfile.TemporaryDirectory() as wheels:
                command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
                subprocess.run([*command, "-d", wheels, name], check=True)
                for wheel in Path(wheels).glob("*.whl"):
                    zipfile.ZipFile(wheel).extractall(root)
        roots.append(root)
    return roots
