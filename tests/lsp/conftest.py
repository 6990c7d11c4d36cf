from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.lsp.client import Editor


@pytest_asyncio.fixture
async def editor() -> AsyncIterator[Editor]:
    """An editor whose server, once started, is stopped in good order."""
    made = Editor()
    yield made
    await made.stop()
