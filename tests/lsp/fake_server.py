"""The language server over a scripted completer, as a process for end-to-end tests.

The line before the cursor is the script: `slow` waits for ever, `die` raises, `boom` is a defect, `many` offers three
suggestions, `lines` one of two lines, `print` writes to standard output. Anything else gets `ghost()`. `test/state`
tells what the completer saw.

Calls, edits to repeat and the wish `rename A to B` are for the real tools; `wait` waits for ever; any other wish is
declined.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import Any

import lsp.main
from completion.api import CompletionRequest, EngineState, EngineStatus, Suggestion
from completion.fake import FakeCompleter
from completion.refactor.worker_process import Rename, Reply, Request, ask
from completion.settings import CompletionSettings
from lsp.handlers import build
from lsp.server import Server
from model.errors import EngineUnavailableError

WATCHED_MODULES = ("torch", "httpx", "numpy", "transformers", "tokenizers", "uvicorn", "psutil", "filelock")


waiting: list[str] = []
"""What became of the wish `wait`."""


def script(request: CompletionRequest) -> list[str]:
    line = request.text[: request.offset].rpartition("\n")[2]
    if "many" in line:
        return ["one()", "two()", "three()"]
    if "lines" in line:
        return ["first()\nsecond()"]
    if "print" in line:
        print("this must not reach the editor")
    if "boom" in line:
        raise ZeroDivisionError("a defect")
    return ["ghost()"]


class ScriptedCompleter(FakeCompleter):
    """Follows the workspace as far as files on disk go."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.files: list[list[str]] = []

    def set_roots(self, roots: Sequence[str]) -> None: ...

    def file_changed(self, path: str, root: str | None, text: str, language_id: str | None) -> None: ...

    def file_saved(self, path: str, root: str | None) -> None: ...

    def file_closed(self, path: str, root: str | None) -> None: ...

    def files_changed(self, paths: Sequence[str], root: str) -> None:
        self.files.append(list(paths))

    async def complete(self, request: CompletionRequest) -> list[Suggestion]:
        line = request.text[: request.offset].rpartition("\n")[2]
        if "slow" in line:
            self.gate.clear()
        else:
            self.gate.set()
        self.error = EngineUnavailableError("The engine died.", hint="Run `tersely doctor`.") if "die" in line else None
        return await super().complete(request)


async def grant(request: Request, editors: Rename | None) -> Reply:
    """A planner's part for wishes; what is planned is done by the real process."""
    if "wish" not in request:
        return await ask(request, editors)
    if rename := re.fullmatch(r"rename (\S+) to (\S+)", request["wish"]):
        symbol, new_name = rename.groups()
        return await ask({**request, "call": {"name": "rename", "symbol": symbol, "new_name": new_name}}, editors)
    if request["wish"] == "wait":
        waiting.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            waiting.append("ended")
    reason = f"{request['wish']}? Nothing is known of it for {request.get('lines', 'the file')}."
    return {"report": {"status": "declined", "reason": reason}, "changes": []}


def make_server() -> Server:
    made: list[ScriptedCompleter] = []
    settings_seen: list[CompletionSettings] = []
    heavy: list[str] = []

    async def connect(settings: CompletionSettings) -> ScriptedCompleter:
        heavy.extend(name for name in WATCHED_MODULES if name in sys.modules)
        settings_seen.append(settings)
        made.append(ScriptedCompleter(script, state=EngineState.IDLE))
        made[-1].level = settings.level
        made[-1].warm_up = lambda: _load(made[-1])  # type: ignore[method-assign]
        return made[-1]

    server = build(connect, grant)

    @server.feature("test/state")
    def state(_: Any) -> dict[str, Any]:
        completer = made[-1]
        return {
            "requests": len(completer.requests),
            "cancelled": completer.cancelled,
            "closed": completer.closed_documents,
            "level": completer.level.value,
            "models": [one.model for one in settings_seen],
            "trusted": [one.trusted for one in settings_seen],
            "heavy": heavy,
            "paths": [request.path for request in completer.requests],
            "open": len(server.host.documents),
            "files": completer.files,
            "waiting": waiting,
        }

    return server


def _load(completer: ScriptedCompleter) -> None:
    """Become ready as an engine does, by way of fetching and loading."""
    if completer.warm_ups:
        return
    completer.warm_ups += 1

    async def load() -> None:
        for fraction in (0.0, 0.5, 1.0):
            completer.set_status(EngineStatus(state=EngineState.PULLING, message="98 MB", fraction=fraction))
            await asyncio.sleep(0.05)
        completer.set_status(EngineStatus(state=EngineState.LOADING, message="Loading fake"))
        await asyncio.sleep(0.05)
        completer.set_status(EngineStatus(state=EngineState.READY, message="fake is ready"))

    completer.loading = asyncio.ensure_future(load())  # type: ignore[attr-defined]


if __name__ == "__main__":
    lsp.main.build = lambda connect: make_server()
    if sys.argv[1:2] == ["--socket"]:
        sys.exit(lsp.main.run_socket(port=0))
    if sys.argv[1:2] == ["--pipe"]:
        sys.exit(lsp.main.run_socket(path=sys.argv[2]))
    sys.exit(lsp.main.run_stdio())
