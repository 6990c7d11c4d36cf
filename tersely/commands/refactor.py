"""`tersely refactor`."""

from __future__ import annotations

import asyncio
import json as json_module
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from completion.connect import connect
from completion.refactor.calls import ACTING, ActingCall
from completion.refactor.cost import Tariff, added, tariff_of
from completion.refactor.filling import Filler
from completion.refactor.journal import Journal
from completion.refactor.plan import Filled, Fixed, Hole
from completion.refactor.schema import decode
from completion.refactor.session import Report, Session
from completion.refactor.tools.rewrite import load_rule
from completion.settings import CompletionSettings
from editors.headless.refactor import Batch, Each, commit, refuse_dirty, root_of, run_batch, start_branch, units_of
from editors.headless.repos import RepoReport, command_for, read_repos, run_here, run_on_ray, worst
from model.api import Priority
from model.errors import UsageError
from model.registry import DEFAULT_MODEL
from tersely.commands.output import EngineProgress, stderr, stdout

_LIKELY = 0.5
"""Below this confidence a change is shown with a word of caution."""


def command(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WISH] PATH…", help="What is wished, and of what: FILE:3-9 selects.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show the change, and write nothing (the default).")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Write the change.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON-lines report instead.")] = False,
    check: Annotated[str, typer.Option("--check", help="A command that must succeed over each change.")] = "",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="How many are planned side by side.")] = 1,
    each: Annotated[Each | None, typer.Option("--each", help="Wish it for each file, package or repo.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish what was interrupted, and go on from there.")
    ] = False,
    branch: Annotated[str, typer.Option("--branch", help="Make this git branch, and commit the change there.")] = "",
    rule: Annotated[Path | None, typer.Option("--rule", help="An ast-grep rule with a fix, instead of a wish.")] = None,
    call: Annotated[
        list[str] | None, typer.Option("--call", help='A call as JSON, instead of a wish: {"name": "rename", …}.')
    ] = None,
    extras: Annotated[bool, typer.Option("--extras", help="Make the changes that are offered for review too.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what --apply wrote last.")] = False,
    repos: Annotated[Path | None, typer.Option("--repos", help="A list of repositories, one path a line.")] = None,
    ray: Annotated[str, typer.Option("--ray", help="With --repos: a Ray cluster's address, or local.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write though there are changes not committed.")] = False,
    model: Annotated[str, typer.Option("--model", help="Name or path of the model.")] = DEFAULT_MODEL,
    adapter: Annotated[str | None, typer.Option("--adapter", help="File that `tersely train` wrote.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Ask this server instead of an engine of our own.")] = None,
    token_file: Annotated[str | None, typer.Option("--token-file", help="Bearer token for --url.")] = None,
) -> None:
    """Change code as wished: planned by the model, carried out by tools, verified. Writes nothing without --apply.

    Exit code 1 where anything was declined or failed.
    """
    given = list(words or [])
    if diff and apply:
        raise UsageError("--diff writes nothing, --apply writes.", hint="Give one of them.")
    wish = "" if rule or call or undo or not given else given.pop(0)
    if undo:
        _undo(given)
        return
    if sum(map(bool, (wish, rule, call))) != 1:
        raise UsageError(
            "Nothing is wished.", hint='Give a wish in words, --rule FILE, or --call JSON: "rename a to b" .'
        )
    settings = CompletionSettings(model=model, adapter=adapter, engine_url=url, engine_token_file=token_file)
    if repos is not None:
        same = _same_for_all(wish, apply=apply, check=check, each=each, branch=branch, rule=rule, call=call or [],
                             extras=extras, force=force, settings=settings)  # fmt: skip
        raise typer.Exit(_over(read_repos(repos), same, tariff_of(settings), ray=ray, jobs=jobs, json=json))
    if ray:
        raise UsageError("--ray is for many repositories.", hint="Give them with --repos LIST.")
    run = _Run(
        wish=wish, paths=given or ["."], apply=apply, json=json, check=check, jobs=jobs, each=each, resume=resume,
        branch=branch, rule=rule, calls=_calls(call or []), extras=extras, force=force, settings=settings,
    )  # fmt: skip
    raise typer.Exit(asyncio.run(run.run()))


class _Run:
    """One workspace's run: what was asked, and how it is shown."""

    def __init__(
        self, *, wish: str, paths: list[str], apply: bool, json: bool, check: str, jobs: int, each: Each | None,
        resume: bool, branch: str, rule: Path | None, calls: tuple[ActingCall, ...], extras: bool, force: bool,
        settings: CompletionSettings,
    ) -> None:  # fmt: skip
        self._wish, self._paths, self._apply, self._json, self._check = wish, paths, apply, json, check
        self._jobs, self._each, self._resume, self._branch, self._rule = jobs, each, resume, branch, rule
        self._calls, self._extras, self._force, self._settings = calls, extras, force, settings
        self._tariff = tariff_of(settings)
        self._tokens = 0
        self._cost: float | None = 0.0

    async def run(self) -> int:
        """The exit code."""
        root = root_of(self._paths)
        journal = Journal(root) if self._apply else None
        if journal is not None:
            if self._resume:
                journal.resume()
            elif not self._force:
                refuse_dirty(root)
            if self._branch:
                start_branch(root, self._branch)
        async with AsyncExitStack() as held:
            session = self._session(root, held)
            batch = Batch(
                units=units_of(session, self._paths, self._each),
                instruction=self._wish or " ".join(map(str, self._calls)),
                rule=None if self._rule is None else load_rule(self._rule),
                jobs=self._jobs,
            )
            with _progress() as progress:
                task = progress.add_task("", total=len(batch.units), tokens="")

                def told(report: Report, shown: str) -> None:
                    self._tokens += report.prompt_tokens + report.completion_tokens
                    self._cost = added(self._cost, report.cost)
                    progress.update(task, advance=1, description=report.unit, tokens=self._spent())
                    self._tell(report, shown)

                reports = await run_batch(session, batch, journal=journal, resume=self._resume, told=told)
            if journal is None and not self._json:
                print_diff(session.overlay.diff())
        if self._branch and journal is not None:
            commit(root, reports, self._wish or "Refactor")
        self._sum_up(reports)
        return int(any(report.status != "changed" for report in reports))

    def _spent(self) -> str:
        return f"{self._tokens} tokens, {self._tariff.shown(self._cost)}"

    def _session(self, root: Path, held: AsyncExitStack) -> Session:
        """The session; the engine behind it starts when it is first asked."""
        if self._rule is not None or self._calls:
            planner_or_fixed = Fixed(self._calls)
            return Session(
                root,
                planner_or_fixed,
                fill=_Late(self._settings, held),
                command=self._check,
                accept_extras=self._extras,
            )
        from completion.refactor.connect import connect_planner

        connected = connect_planner(self._settings, priority=Priority.BATCH)
        shown = EngineProgress()
        connected.engine.on_status(shown.show)
        held.push_async_callback(connected.engine.aclose)
        held.callback(shown.close)
        return Session(
            root, connected.planner, fill=_Late(self._settings, held), command=self._check, accept_extras=self._extras,
            tariff=self._tariff,
        )  # fmt: skip

    def _tell(self, report: Report, shown: str) -> None:
        if self._json:
            print(
                json_module.dumps(report.as_json() | ({"diff": shown} if shown else {}), ensure_ascii=False), flush=True
            )
            return
        print_diff(shown)
        if report.status != "changed":
            stderr.print(Text(f"{report.unit}: {report.status}: {report.reason}", style="yellow"))
        for note in report.notes:
            stderr.print(Text(f"{report.unit}: {note}", style="dim"))
        if report.status == "changed" and report.confidence < _LIKELY:
            stderr.print(
                Text(f"{report.unit}: the model is not sure ({report.confidence:.0%}): look twice", style="yellow")
            )
        for one in report.extras:
            stderr.print(Text(f"review {one.path}:{one.line} ({one.why}): {one.shown}", style="cyan"))

    def _sum_up(self, reports: Sequence[Report]) -> None:
        count = {status: sum(one.status == status for one in reports) for status in ("changed", "declined", "failed")}
        if self._json:
            spent = {"tokens": self._tokens, "cost": self._cost, "currency": self._tariff.currency}
            print(json_module.dumps({"summary": count, **spent, "applied": self._apply}))
            return
        if self._tokens:
            stderr.print(Text(self._spent(), style="dim"))
        if any(one.extras for one in reports):
            stderr.print(Text("Lines to review may belong to the change; --extras makes them too.", style="dim"))
        if not self._apply and count["changed"]:
            stderr.print(Text("Nothing was written: --apply writes, and --undo takes it back.", style="dim"))
        elif count["changed"]:
            stderr.print(Text("Written. `tersely refactor --undo` takes it back.", style="dim"))


def _progress() -> Progress:
    """How many are done, how long the rest will take, and what was spent; silent where nobody looks."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[tokens]}"), console=stderr, transient=True, disable=not stderr.is_terminal,
    )  # fmt: skip


class _Late:
    """A `Filling` whose completer is made when the first hole is to be filled."""

    def __init__(self, settings: CompletionSettings, held: AsyncExitStack) -> None:
        self._settings, self._held = settings, held
        self._loop = asyncio.get_running_loop()
        self._filler: Filler | None = None

    def __call__(self, hole: Hole) -> Filled:
        """The text of a hole."""
        if self._filler is None:
            self._filler = asyncio.run_coroutine_threadsafe(self._make(), self._loop).result()
        return self._filler(hole)

    async def _make(self) -> Filler:
        completer = connect(self._settings)
        self._held.push_async_callback(completer.aclose)
        return Filler(completer, self._loop)


def _calls(given: Sequence[str]) -> tuple[ActingCall, ...]:
    """Calls from JSON. Raises `UsageError` for what is no call, or one that only looks."""
    calls: list[ActingCall] = []
    for text in given:
        try:
            data = json_module.loads(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is no JSON: {error}.", hint='Give {"name": "rename", …}.') from error
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            raise UsageError(f"{text!r} names no tool.", hint='Give {"name": "rename", …}.')
        one = decode(data.pop("name"), data)
        if not isinstance(one, ACTING):
            raise UsageError("That call only looks.", hint="Give one that changes something.")
        calls.append(cast(ActingCall, one))
    return tuple(calls)


def _undo(paths: Sequence[str]) -> None:
    for run in Journal(root_of(paths or ["."])).undo():
        stderr.print(Text(f"Took back {run.label}: {', '.join(run.paths)}"))


def print_diff(text: str) -> None:
    """A unified diff in colours, where they can be seen."""
    for line in text.splitlines():
        style = "bold" if line.startswith(("+++", "---")) else ""
        style = style or {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        stdout.print(Text(line, style=style), soft_wrap=True)


def _same_for_all(
    wish: str, *, apply: bool, check: str, each: Each | None, branch: str, rule: Path | None, call: Sequence[str],
    extras: bool, force: bool, settings: CompletionSettings,
) -> list[str]:  # fmt: skip
    """The arguments of every repository's own command."""
    made = [wish] if wish else []
    made += ["--apply"] * apply + ["--extras"] * extras + ["--force"] * force
    named = {"--check": check, "--each": each.value if each else "", "--branch": branch, "--model": settings.model,
             "--rule": str(rule.resolve()) if rule else "", "--adapter": settings.adapter or "",
             "--url": settings.engine_url or "", "--token-file": settings.engine_token_file or ""}  # fmt: skip
    for name, value in named.items():
        made += [name, value] if value else []
    for one in call:
        made += ["--call", one]
    return made


def _over(repos: Sequence[str], same: list[str], tariff: Tariff, *, ray: str, jobs: int, json: bool) -> int:
    commands = [(repo, command_for(repo, same)) for repo in repos]
    runs = run_on_ray(commands, address=ray, jobs=jobs) if ray else run_here(commands, jobs=jobs)
    reports: list[RepoReport] = []
    tokens = 0
    cost: float | None = 0.0
    with _progress() as progress:
        task = progress.add_task("", total=len(repos), tokens="")
        for report in runs:
            reports.append(report)
            for line in report.lines:
                if json:
                    print(json_module.dumps(line, ensure_ascii=False), flush=True)
                if "summary" in line:
                    tokens, cost = tokens + line["tokens"], added(cost, line["cost"])
            name = os.path.basename(report.repo)
            spent = f"{tokens} tokens, {tariff.shown(cost)}"
            progress.update(task, advance=1, description=name, tokens=spent)
            if not json:
                word = "done" if report.exit_code == 0 else f"exit code {report.exit_code}"
                stderr.print(Text(f"{name}: {word} {report.said}".rstrip()))
    return worst(reports)
