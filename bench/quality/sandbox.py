"""Runs a program that a model wrote: a fresh process with limits on memory, time, files, and no network.

Not a wall against malice: it keeps an accident from hurting. Where the system can give the process a network of its
own (Linux), it does; everywhere an audit hook refuses sockets, processes and writes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

TIMEOUT_S = 10.0
_MEMORY_BYTES = 1 << 30

# Runs in the child, before the program, which arrives on standard input.
_GUARD = f"""
import sys
try:
    import ctypes
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)  # CLONE_NEWUSER | CLONE_NEWNET; may be refused
except (OSError, AttributeError):
    pass
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES},) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, ({int(TIMEOUT_S)},) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, OSError, ValueError):
    pass
program = compile(sys.stdin.read(), "program", "exec")
forbidden = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill",
             "os.remove", "os.rename", "os.rmdir", "os.mkdir", "shutil.", "ctypes.")
def guard(event, arguments):
    if event.startswith(forbidden):
        raise PermissionError(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise PermissionError(event)
sys.addaudithook(guard)
exec(program, {{"__name__": "__main__"}})
"""


def passes(program: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether the program runs to its end without an exception, in time."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-B", "-c", _GUARD],
                input=program.encode("utf-8", "replace"),
                cwd=folder,
                env={},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
