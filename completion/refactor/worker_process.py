"""The server's side of a refactoring process: one for each request, ended when that is cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from model.errors import InternalError
from model.paths import cache_dir

_DOOR = Path(__file__).with_name("__main__.py")

_LONGEST_LINE_BYTES = 1 << 30
_LAST_WORDS_S = 5.0

Request = dict[str, Any]
Reply = dict[str, Any]
Rename = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]


async def ask(request: Request, rename: Rename | None = None) -> Reply:
    """The reply of `completion.refactor.worker.answer`, or `error` and `hint`.

    `rename` answers what the editor's own language server would rename (`completion.refactor.renamer`). Raises
    `InternalError` where the process dies without a word.
    """
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(_DOOR),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        limit=_LONGEST_LINE_BYTES,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        message: Any = {**request, "rename": rename is not None}
        while True:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            await process.stdin.drain()
            reply: Reply = json.loads(await process.stdout.readline())
            if "rename" not in reply:
                break
            message = None if rename is None else await rename(reply["rename"])
        process.stdin.close()
        await process.wait()
    except (ValueError, ConnectionError) as error:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _LAST_WORDS_S)
        raise InternalError(
            f"The refactoring process ended with code {process.returncode}.", hint="Try again, and report it."
        ) from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return reply
