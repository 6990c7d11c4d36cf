"""The editor's process: when it is gone, nobody is left to say goodbye, and the server must end by itself."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

POLL_S = 3.0


async def wait_until_gone(process_id: int, *, poll_s: float = POLL_S) -> bool:
    """Return True once the process has ended; False at once if it cannot be seen from here (another container).

    A process that gets the same number later is not taken for it.
    """
    # Slow to import, and nothing waits for this.
    psutil: Any = await asyncio.to_thread(importlib.import_module, "psutil")
    try:
        process = psutil.Process(process_id)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    while _runs(process, psutil):  # noqa: ASYNC110 - no event tells of another process's end on all systems.
        await asyncio.sleep(poll_s)
    return True


def _runs(process: Any, psutil: Any) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
