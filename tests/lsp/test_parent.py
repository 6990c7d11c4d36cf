"""Noticing that the editor's process has ended."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

from lsp.parent import wait_until_gone


async def test_a_process_that_ends_is_noticed():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=PIPE)
    waiting = asyncio.ensure_future(wait_until_gone(process.pid, poll_s=0.02))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await process.communicate(b"\n")
    assert await asyncio.wait_for(waiting, 10) is True


async def test_a_process_that_cannot_be_seen_is_not_waited_for():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    assert await wait_until_gone(process.pid, poll_s=0.02) is False
