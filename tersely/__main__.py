"""The launcher behind `tersely` and `python -m tersely`: puts the rooms first on sys.path, then runs the command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from tersely import rooms

    rooms.put_first()
    if sys.argv[1:] in (["lsp"], ["lsp", "--stdio"]):
        # An editor is waiting: the plain case skips the command-line machinery.
        from lsp.main import run_stdio

        sys.exit(run_stdio())
    from tersely.cli import run

    run()


if __name__ == "__main__":
    main()
