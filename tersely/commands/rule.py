"""`tersely rule`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from completion.refactor.journal import Journal
from completion.refactor.learn import as_yaml, learn, save
from completion.refactor.plan import Fixed
from completion.refactor.session import Session, Unit
from completion.refactor.tools.rewrite import Rule
from editors.headless.refactor import Batch, refuse_dirty, root_of, run_batch
from editors.headless.rules import pairs_of
from tersely.commands.output import stderr
from tersely.commands.refactor import print_diff

app = typer.Typer(help="Rules that rewrite code by structure.", no_args_is_help=True)


@app.callback()
def rules() -> None:
    """Rules that rewrite code by structure; `tersely refactor --rule FILE` applies them."""


@app.command("learn")
def learn_command(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of the workspace.")] = ".",
    from_git: Annotated[str, typer.Option("--from-git", help="The commit that made the edits.")] = "HEAD",
    name: Annotated[str, typer.Option("--name", help="The rule's name.")] = "",
    keep: Annotated[bool, typer.Option("--save", help="Keep the rule in .tersely/rules/.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Make the change in all other places.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write though there are changes not committed.")] = False,
) -> None:
    """Infer the rule behind a commit that made the same kind of edit at least twice, and show where else it applies."""
    root = root_of([path])
    rule = learn(pairs_of(root, from_git), rule_id=name)
    typer.echo(as_yaml(rule), nl=False)
    stderr.print(Text(f"It makes every edit of {from_git} again, to the letter.", style="dim"))
    if keep:
        stderr.print(Text(f"Saved as {save(rule, root).relative_to(root)}.", style="dim"))
    if apply and not force:
        refuse_dirty(root)
    raise typer.Exit(asyncio.run(_everywhere(root, rule, apply=apply)))


async def _everywhere(root: Path, rule: Rule, *, apply: bool) -> int:
    """Show (or make) the change in all places that the rule matches; 1 where it would break something."""
    session = Session(root, Fixed(()))
    batch = Batch(units=(Unit(),), rule=rule)
    journal = Journal(root) if apply else None
    (report,) = await run_batch(session, batch, journal=journal, resume=False, told=lambda _, diff: print_diff(diff))
    if journal is None:
        print_diff(session.overlay.diff())
    if report.status == "changed":
        done = "Written." if apply else "Nothing was written: --apply writes."
        stderr.print(Text(f"{', '.join(report.notes)} in {len(report.changed)} files. {done}", style="dim"))
        return 0
    nowhere = report.reason.startswith("Nothing matches")
    stderr.print(Text("It applies nowhere else." if nowhere else report.reason, style="yellow"))
    return 0 if nowhere else 1
