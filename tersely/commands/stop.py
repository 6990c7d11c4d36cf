"""`tersely stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from model.service import launcher
from tersely.commands.output import print_json, stdout


def command(
    model: Annotated[str | None, typer.Option("--model", help="Only the engines that serve this model.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop this user's engines. Editors start them again at the next key."""
    stopped = launcher.stop(model=model)
    if json:
        print_json([{"model": engine.model, "pid": engine.pid, "address": engine.address} for engine in stopped])
    elif not stopped:
        stdout.print("No engine is running.")
    for engine in [] if json else stopped:
        stdout.print(f"Stopped {engine.model} (process {engine.pid}).")
