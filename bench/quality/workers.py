"""Processes for the bench, which end with the one that started them, however that ends."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def workers(count: int) -> ProcessPoolExecutor:
    """Processes that take one task each, and end where this one is killed."""
    return ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_end_with_parent, max_tasks_per_child=1
    )


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
