"""`tersely lsp`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def command(
    stdio: Annotated[bool, typer.Option("--stdio", help="Speak on standard input and output (the default).")] = False,
    socket: Annotated[
        str | None, typer.Option("--socket", metavar="[HOST:]PORT", help="Listen on TCP instead, for one client.")
    ] = None,
) -> None:
    """Run the language server for an editor."""
    from lsp import main

    if stdio and socket:
        raise typer.BadParameter("choose one of --stdio and --socket")
    if socket is None:
        sys.exit(main.run_stdio())
    host, _, port = socket.rpartition(":")
    if not port.isdigit():
        raise typer.BadParameter("write --socket PORT or --socket HOST:PORT")
    sys.exit(main.run_socket(host=host or "127.0.0.1", port=int(port)))
