"""`tersely demo`."""

from __future__ import annotations

import asyncio
import re
import time
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from completion.api import Suggestion
from completion.connect import connect
from completion.settings import CompletionSettings
from editors.headless.complete import as_json
from editors.headless.demo import Place, load_places, play
from editors.headless.target import Target, place_of
from model.registry import DEFAULT_MODEL
from tersely import rooms
from tersely.commands.output import EngineProgress, print_json, stdout

_LINES_BEFORE = 4


def command(
    folder: Annotated[Path | None, typer.Argument(help="A folder with a demo.toml; default: the sample.")] = None,
    model: Annotated[str, typer.Option("--model", help="Name or path of the model, or a hosted one.")] = DEFAULT_MODEL,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", help="Also save what is shown as a picture.")] = None,
) -> None:
    """Show ghost text at several places of a small sample repository."""
    console = Console(highlight=False, record=True, width=112, file=StringIO(), force_terminal=True) if svg else stdout
    asyncio.run(_run(folder or rooms.home() / "examples" / "sample", model, json, console))
    if svg:
        # The picture must not fetch its font from elsewhere: the reader's own monospace font serves.
        picture = re.sub(r"@font-face\s*\{.*?\}\s*", "", console.export_svg(title="tersely demo"), flags=re.DOTALL)
        svg.write_text(picture, encoding="utf-8")


async def _run(folder: Path, model: str, json: bool, console: Console) -> None:
    places = load_places(folder)
    completer = connect(CompletionSettings(model=model))
    progress = EngineProgress()
    completer.on_status(progress.show)
    started_s = time.perf_counter()
    answers: list[tuple[Place, Suggestion, bool]] = []
    try:
        async for place, suggestion in play(completer, places, folder):
            progress.close()
            shown = completer.shows(suggestion)
            answers.append((place, suggestion, shown))
            if not json:
                _show(console, place, suggestion, shown)
    finally:
        progress.close()
        await completer.aclose()
    if json:
        print_json(
            [
                as_json(one, Target(place.text, place.offset, place.path, None))
                | {"file": place.path, "was": place.cut, "shown": shown}
                for place, one, shown in answers
            ]
        )
        return
    total_ms = (time.perf_counter() - started_s) * 1000
    read = sum(one.usage.prompt_tokens for _, one, _ in answers)
    reused = sum(one.usage.cached_tokens for _, one, _ in answers)
    generated = sum(one.usage.completion_tokens for _, one, _ in answers)
    held_back = sum(not shown for _, _, shown in answers)
    console.print(
        f"[bold]{len(answers)} places[/bold] in {total_ms / 1000:.1f} s, the engine's start included; nothing shown at "
        f"{held_back}. {read} tokens read, {reused} of them reused, {generated} generated. "
        "[dim]The engine stays for the next one; `tersely stop` ends it.[/dim]"
    )


def _show(console: Console, place: Place, suggestion: Suggestion, is_shown: bool) -> None:
    line, column = place_of(place.text, place.offset)
    console.print(f"[bold]{place.path}[/bold]:{line}:{column}")
    before = "\n".join(place.text[: place.offset].split("\n")[-_LINES_BEFORE:])
    after = place.text[place.offset :].split("\n", 1)[0]
    shown = Text()
    shown.append(before, style="default")
    shown.append(suggestion.text or "∅", style="italic cyan" if is_shown else "dim strike")
    shown.append(after, style="default")
    width = len(str(line))
    first = line - before.count("\n")
    for number, row in enumerate(shown.split("\n", allow_blank=True), first):
        console.print(Text(f"  {number:>{width}} │ ", style="dim") + row)
    if suggestion.text and not is_shown:
        console.print("  [dim]An editor shows nothing here: it is too likely to be wrong.[/dim]")
    engine, usage = suggestion.timings.engine, suggestion.usage
    console.print(
        f"  [dim]{suggestion.timings.total_ms:.0f} ms "
        f"(prefill {engine.prefill_ms:.0f}, decode {engine.decode_ms:.0f}) · "
        f"{usage.prompt_tokens} tokens read, {usage.cached_tokens} reused, {usage.completion_tokens} generated · "
        f"confidence {suggestion.confidence:.2f} · ended by {suggestion.stop_reason}[/dim]\n"
    )
