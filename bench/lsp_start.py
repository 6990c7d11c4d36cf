"""How soon the language server answers, and what it weighs: from spawning `tersely lsp` to `initialized` handled.

The server handles messages in order, so the first answer to a request sent right behind `initialized` says when that
was handled. Prints one JSON object; claims: ≤ 700 ms and < 120 MB, without torch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil

from bench import results

CLAIM_MS = 700
CLAIM_MB = 120


def once(command: list[str]) -> tuple[float, float, float]:
    """Milliseconds to the answer to `initialize` and to `initialized` handled; resident megabytes a second later."""
    started_s = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
    )
    _send(process, {"id": 1, "method": "initialize", "params": {"processId": os.getpid(), "capabilities": {}}})
    _await(process, 1)
    initialize_ms = (time.perf_counter() - started_s) * 1000
    _send(process, {"method": "initialized", "params": {}})
    where = {"textDocument": {"uri": "untitled:a"}, "position": {"line": 0, "character": 0}}
    question = {**where, "context": {"triggerKind": 2}}
    _send(process, {"id": 2, "method": "textDocument/inlineCompletion", "params": question})
    _await(process, 2)
    initialized_ms = (time.perf_counter() - started_s) * 1000
    time.sleep(1)
    resident_mb = psutil.Process(process.pid).memory_info().rss / 1e6
    _send(process, {"id": 3, "method": "shutdown"})
    _await(process, 3)
    _send(process, {"method": "exit"})
    process.wait(10)
    return initialize_ms, initialized_ms, resident_mb


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    process.stdin.flush()


def _await(process: subprocess.Popen[bytes], message_id: int) -> None:
    assert process.stdout is not None
    while True:
        length = 0
        while (line := process.stdout.readline()).strip():
            if found := re.match(rb"Content-Length: (\d+)", line):
                length = int(found[1])
        if not length:
            raise SystemExit("the server ended before it answered")
        if json.loads(process.stdout.read(length)).get("id") == message_id:
            return


def main() -> None:
    """Start the server several times; print and save medians and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("command", nargs="*", default=[sys.executable, "-m", "tersely", "lsp"])
    arguments = parser.parse_args()
    once(arguments.command)  # The first run compiles and fills the page cache.
    runs = [once(arguments.command) for _ in range(arguments.runs)]
    initialize, initialized, resident = zip(*runs, strict=True)
    figures = {
        "runs": arguments.runs,
        "initialize_ms": round(statistics.median(initialize), 1),
        "initialized_ms": round(statistics.median(initialized), 1),
        "initialized_worst_ms": round(max(initialized), 1),
        "resident_mb": round(max(resident), 1),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "claims": {"initialized_ms": CLAIM_MS, "resident_mb": CLAIM_MB},
    }
    figures["holds"] = max(initialized) <= CLAIM_MS and max(resident) < CLAIM_MB
    path = results.save("lsp_start", figures)
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
