"""The process behind an editor's refactoring: a request on standard input, a reply on standard output, as JSON lines.

Between them it may ask, `{"rename": …}`, what the editor's own language server would rename; a line answers. The server
stays light and cancels by ending the process. Nothing is written to the workspace: the reply holds edits, and the
editor makes them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from completion.plain_file import read_plain
from completion.refactor.calls import ACTING
from completion.refactor.cost import tariff_of
from completion.refactor.edits import extra_edits, line_edits
from completion.refactor.learn import Pair, as_yaml, rule_path
from completion.refactor.overlay import MAX_BYTES, Overlay
from completion.refactor.plan import Filled, Fixed, Hole, Planner
from completion.refactor.renamer import Question, Renamer
from completion.refactor.repeat import rule_behind
from completion.refactor.schema import decode
from completion.refactor.session import Report, Session, Unit
from completion.refactor.tools.locals import name_at
from completion.settings import CompletionSettings
from model.errors import InternalError, RefusedError, TerselyError, UsageError

CURSOR = "@cursor"
"""As a symbol in a call: the name at the request's `offset`."""


def main() -> int:
    """Answer the request on standard input."""
    from completion.refactor.worker_process import Reply

    request = json.loads(sys.stdin.buffer.readline())
    renamer = _ask_editor if request.get("rename") else None
    try:
        reply: Reply = asyncio.run(answer(request, renamer=renamer))
    except TerselyError as error:
        reply = {"error": error.message, "hint": error.hint}
    except Exception as error:  # noqa: BLE001 - whatever it is, the editor is told, and the process ends.
        defect = InternalError(f"{type(error).__name__}: {error}", hint="Please report it.")
        reply = {"error": defect.message, "hint": defect.hint}
    _say(reply)
    return 0


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def _ask_editor(question: Question) -> Mapping[str, Any] | None:
    """A `Renamer`: the process that started this one passes the question on."""
    _say({"rename": asdict(question)})
    found: Mapping[str, Any] | None = json.loads(sys.stdin.buffer.readline())
    return found


async def answer(request: dict[str, Any], *, renamer: Renamer | None = None) -> dict[str, Any]:
    """`root`, `buffers` (path → text), `path`, and a `wish` or a `call`; `lines` selects, `offset` is the cursor.

    Or `repeat`, two edits with `path`, `before` and `after`: the rule behind them is applied everywhere, or with `save`
    kept among the workspace's rules. The reply: `report`, and `changes` with `path`, `created`, `removed`, and `edits`
    (`LineEdit`). Raises the errors of the engine, and `UsageError` for what is no call.
    """
    settings = CompletionSettings(**request.get("settings", {}))
    lines = request.get("lines")
    unit = Unit(path=request.get("path", ""), lines=None if lines is None else (int(lines[0]), int(lines[1])))
    if "repeat" in request:
        return await _repeated(request)
    async with AsyncExitStack() as held:
        planner = _planner(request, settings, held)
        session = Session(
            Path(request["root"]), planner, fill=_Fills(settings, held), renamer=renamer,
            tariff=tariff_of(settings), buffers=request.get("buffers", {}),
        )  # fmt: skip
        report = await session.run(unit, request.get("wish") or "")
    return {"report": report.as_json(), "changes": _changes(session.overlay, report, request.get("buffers", {}))}


async def _repeated(request: dict[str, Any]) -> dict[str, Any]:
    """The reply for a rule that is learned from edits."""
    session = Session(Path(request["root"]), Fixed(()), buffers=request.get("buffers", {}))
    try:
        edits = [{name: text.replace("\r\n", "\n") for name, text in one.items()} for one in request["repeat"]]
        rule = rule_behind([Pair(**one) for one in edits])
        if request.get("save"):
            path = rule_path(rule)
            if session.overlay.exists(path):
                raise RefusedError(f"There is {path} already.", hint="Remove it, or give it another name.")
            session.overlay.write(path, as_yaml(rule))
            report = Report(unit=".", status="changed", changed=(path,))
        else:
            report = await session.run_rule(Unit(), rule)
    except RefusedError as error:
        report = Report(unit=".", status="declined", reason=str(error))
    return {
        "report": report.as_json(),
        "changes": _changes(session.overlay, report, request.get("buffers", {})),
        "look_first": True,
    }


def _planner(request: dict[str, Any], settings: CompletionSettings, held: AsyncExitStack) -> Planner:
    call = request.get("call")
    if call is None:
        from completion.refactor.connect import connect_planner

        connected = connect_planner(settings)
        held.push_async_callback(connected.engine.aclose)
        return connected.planner
    arguments = dict(call)
    name = str(arguments.pop("name", ""))
    if arguments.get("symbol") == CURSOR:
        text = request["buffers"][request["path"]]
        arguments["symbol"] = name_at(text, request["path"], int(request["offset"]))
    made = decode(name, arguments)
    if not isinstance(made, ACTING):
        raise UsageError(f"{name} only looks.", hint="Ask for a call that changes something.")
    return Fixed((made,))  # type: ignore[arg-type]


class _Fills:
    """A `Filling` whose completer is made when the first hole is to be filled."""

    def __init__(self, settings: CompletionSettings, held: AsyncExitStack) -> None:
        self._settings, self._held, self._loop = settings, held, asyncio.get_running_loop()

    def __call__(self, hole: Hole) -> Filled:
        """The text of a hole; called on a thread."""
        from completion.connect import connect
        from completion.refactor.filling import Filler

        async def made() -> Filler:
            completer = connect(replace(self._settings, context=False))
            self._held.push_async_callback(completer.aclose)
            return Filler(completer, self._loop)

        return asyncio.run_coroutine_threadsafe(made(), self._loop).result()(hole)


def _changes(overlay: Overlay, report: Report, buffers: dict[str, str]) -> list[dict[str, Any]]:
    """What becomes of each file, places to review included; line ends as the file (or the buffer) has them."""
    found: dict[str, dict[str, Any]] = {}
    for change in overlay.changes():
        before, after = change.before or "", change.after or ""
        edits = line_edits(before, after) if change.after is not None else []
        edits += extra_edits(before, after, [one for one in report.extras if one.path == change.path])
        found[change.path] = {
            "path": change.path,
            "created": change.before is None,
            "removed": change.after is None,
            "edits": [one.as_json() for one in edits],
        }
    for path in sorted({one.path for one in report.extras} - found.keys()):
        text = overlay.read(path)
        edits = extra_edits(text, text, [one for one in report.extras if one.path == path])
        found[path] = {
            "path": path, "created": False, "removed": False, "edits": [one.as_json() for one in edits],
        }  # fmt: skip
    for path, told in found.items():
        ending = _ending(overlay, path, buffers)
        if ending != "\n":
            for edit in told["edits"]:
                edit["text"] = edit["text"].replace("\n", ending)
    return list(found.values())


def _ending(overlay: Overlay, path: str, buffers: dict[str, str]) -> str:
    try:
        content = b"" if path in buffers else read_plain(overlay.root / path, most_bytes=MAX_BYTES) or b""
        raw = buffers[path] if path in buffers else content[:65536].decode("utf-8", "replace")
    except OSError:
        return "\n"
    return "\r\n" if "\r\n" in raw else "\r" if "\r" in raw and "\n" not in raw else "\n"
