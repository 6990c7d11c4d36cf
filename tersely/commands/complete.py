"""`tersely complete`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from completion.api import Level, Suggestion
from completion.connect import connect
from completion.settings import CompletionSettings
from editors.headless.complete import as_json, complete_at
from editors.headless.target import Target, read_target
from model.registry import DEFAULT_MODEL
from tersely.commands.output import EngineProgress, print_json, stderr


def command(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="1-based; '-' reads standard input.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say what went into it, and why it ends there.")] = False,
    model: Annotated[str, typer.Option("--model", help="Name or path of the model, or a hosted one.")] = DEFAULT_MODEL,
    adapter: Annotated[str | None, typer.Option("--adapter", help="File that `tersely train` wrote.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Ask this server instead of an engine of our own.")] = None,
    token_file: Annotated[str | None, typer.Option("--token-file", help="Bearer token for --url.")] = None,
    level: Annotated[Level, typer.Option("--level", help="How much to offer.")] = Level.BALANCED,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Never generate more than this.")] = 64,
    path: Annotated[str | None, typer.Option("--path", help="File name to assume, for standard input.")] = None,
) -> None:
    """Print the completion at a place in a file. Without COL: at the end of the line; without LINE: of the file."""
    target = read_target(place, shown_path=path)
    settings = CompletionSettings(
        model=model,
        adapter=adapter,
        engine_url=url,
        engine_token_file=token_file,
        level=level,
        max_tokens=max_tokens,
        time_limit_ms=None,
    )
    suggestion = asyncio.run(_ask(settings, target))
    if json:
        print_json(as_json(suggestion, target, explain=explain))
        return
    print(suggestion.text)
    if explain:
        _explain(suggestion)


async def _ask(settings: CompletionSettings, target: Target) -> Suggestion:
    completer = connect(settings)
    progress = EngineProgress()
    completer.on_status(progress.show)
    try:
        return await complete_at(completer, target)
    finally:
        progress.close()
        await completer.aclose()


def _explain(suggestion: Suggestion) -> None:
    table = Table("source", "path", "lines", "tokens", "reused", "why", title="context", title_justify="left")
    for use in suggestion.explanation.context:
        lines, reused = f"{use.first_line}-{use.last_line}", "yes" if use.cached else "no"
        table.add_row(use.source, use.path, lines, f"~{use.tokens}", reused, use.reason)
    stderr.print(table)
    usage, timings = suggestion.usage, suggestion.timings
    stderr.print(
        f"tokens: {usage.prompt_tokens} in the prompt, {usage.cached_tokens} of them reused, "
        f"{usage.completion_tokens} generated"
    )
    stderr.print(
        f"milliseconds: context {timings.context_ms:.1f}, prompt {timings.prompt_ms:.1f}, "
        f"queue {timings.engine.queue_ms:.1f}, prefill {timings.engine.prefill_ms:.1f}, "
        f"decode {timings.engine.decode_ms:.1f}, guards {timings.guard_ms:.1f}, polish {timings.polish_ms:.1f}, "
        f"total {timings.total_ms:.1f}"
    )
    stderr.print(f"ended by: {suggestion.stop_reason}; confidence {suggestion.confidence:.2f}; {suggestion.model}")
    explanation = suggestion.explanation
    for note in (*(f"veto: {reason}" for reason in explanation.vetoes), *explanation.filters):
        stderr.print(f"  {note}", markup=False)
    for candidate in explanation.candidates if len(explanation.candidates) > 1 else ():
        stderr.print(f"  candidate {candidate.confidence:.2f}: {candidate.text!r}", markup=False)
