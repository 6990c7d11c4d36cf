"""`tersely doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from model.doctor import Verdict, examine
from model.registry import DEFAULT_MODEL
from tersely.commands.output import print_json, stdout

_STYLE = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILURE: "red"}


def command(
    model: Annotated[str, typer.Option("--model", help="Name or path of the model, or a hosted one.")] = DEFAULT_MODEL,
    url: Annotated[str | None, typer.Option("--url", help="The server that is asked, if not our own engine.")] = None,
    embeddings: Annotated[
        str | None,
        typer.Option("--embeddings", help="The server of `embeddings.url`, if the editor's settings name one."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that everything is in place, and say what to do where it is not. Exit code 1 on a failure."""
    findings = examine(model, url=url, embeddings_url=embeddings)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table.grid(padding=(0, 2))
        for finding in findings:
            detail = Text(finding.detail)
            if finding.hint:
                detail.append(f"\n{finding.hint}", style="dim")
            table.add_row(Text(finding.verdict.value, style=_STYLE[finding.verdict]), finding.subject, detail)
        stdout.print(table)
    if any(finding.verdict is Verdict.FAILURE for finding in findings):
        raise typer.Exit(1)
