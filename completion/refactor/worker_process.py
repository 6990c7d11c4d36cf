"""The server's side of a refactoring process: one for each request, ended when that is cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from model.errors import InternalError
from model.paths import cache_dir

_DOOR = Path(__file__).with_name("__main__.py")

Request = dict[str, Any]
Reply = dict[str, Any]


async def ask(request: Request) -> Reply:
    """The reply of `completion.refactor.worker.answer`, or `error` and `hint`.

    Raises `InternalError` where the process dies without a word.
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
    )
    try:
        out, _ = await process.communicate(json.dumps(request).encode())
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        reply: Reply = json.loads(out)
    except ValueError as error:
        raise InternalError(
            f"The refactoring process ended with code {process.returncode}.", hint="Try again, and report it."
        ) from error
    return reply
