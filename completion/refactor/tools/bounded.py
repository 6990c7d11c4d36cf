"""Run by its path, as `python -P bounded.py MODULE ARGUMENTS…`: a module of the environment with bounded memory.

A workspace's configuration may have a tool read a file that never ends. Knows nothing of the rooms. Where the system
has no such bound, the module runs without.
"""

from __future__ import annotations

import runpy
import sys

MOST_BYTES = 2 << 30
"""Of addresses, which are more than what is used: threads reserve them, so that there should be few."""


def _bound() -> None:
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MOST_BYTES if hard == resource.RLIM_INFINITY else min(MOST_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    _bound()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
