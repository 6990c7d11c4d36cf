"""`make bench`: every claim in turn, about two hours. `python -m bench.NAME --help` tells what one of them can do.

Left out is what needs more than this environment: a GPU (`bench.gpu`), llama.cpp (`bench.cpu`).
"""

from __future__ import annotations

import subprocess
import sys

BENCHES = (
    "lsp_start",
    "decode",
    "keystroke",
    "context",
    "context.exact",
    "terse",
    "quality",
    "quality.tools",
    "refactor",
    "refactor.bfcl",
)


def main() -> int:
    failed = [name for name in BENCHES if subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
