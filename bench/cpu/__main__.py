"""Prefill and decode speed on CPU beside llama.cpp (llama-cpp-python): same GGUF file, same threads, in turns, one run.

    python -m bench.cpu [--model FILE --name NAME] [--threads 1 2] [--context 1200] [--rounds 5] [--limit S] [--busy]
        [--peer PYTHON]

Each round continues another place of this repository's own code greedily from an empty cache. `--busy` does it all
again while another process keeps one core at work. `--peer` is an interpreter with llama-cpp-python, when this one has
none: installing it compiles llama.cpp for this machine. The clock is the one on the wall.

tersely runs the file's own 4-bit weights, without drafts (which llama.cpp has not got), with them, and as it is served:
with drafts, and on as many of the threads as have a core to themselves, which the engine counts whenever steps slow
down. llama.cpp runs them as it always does. Both read 512 tokens a batch at the most. `same_tokens` counts how far both
texts agree: they round differently, so a near tie may part them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from bench import results
from bench.decode import DECODED, Measured, measure_tersely, places
from model import hub
from model.errors import UsageError
from model.load import Served, pick_dtype
from model.open_model import open_model
from model.packer import Quantize
from model.threads import CoresTaken, own_cores

OURS, DRAFTED, SERVED, PEER = "tersely", "tersely with drafts", "tersely as served", "llama.cpp"
KINDS = ("prefill", "decode")
AIMS = {"prefill": 4.0, "decode": 1.3}
_ROOM_TOKENS = 256
_COUNTED_S = 1.0
"""So long it is looked which cores others take."""


class Peer:
    """llama.cpp in its process. Raises `UsageError` when the interpreter has no llama-cpp-python."""

    def __init__(self, python: str, model: Path, *, threads: int, context_tokens: int) -> None:
        script = Path(__file__).with_name("peer.py")
        self._process = subprocess.Popen(
            [python, str(script), str(model), str(threads), str(context_tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = self._read()
        if said is None:
            raise UsageError(
                f"{python} cannot run llama-cpp-python.",
                hint="pip install llama-cpp-python there (it compiles for some minutes), or give --peer PYTHON.",
            )
        self.version: str = said["version"]

    def measure(self, ids: list[int]) -> Measured:
        """One continuation of `ids`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"ids": ids, "decode": DECODED}) + "\n")
        self._process.stdin.flush()
        said = self._read()
        if said is None:
            raise RuntimeError(f"llama.cpp died with exit status {self._process.wait()}")
        return Measured(
            prefill=len(ids) / said["prefill_s"], decode=DECODED / said["decode_s"], tokens=tuple(said["tokens"])
        )

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _read(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None


@contextmanager
def one_core_busy() -> Iterator[None]:
    """Another process multiplies matrices on one core meanwhile."""
    code = "import torch; torch.set_num_threads(1); a = torch.randn(1024, 1024)\nwhile True: a @ a"
    process = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(3)  # until it has imported torch
    try:
        yield
    finally:
        process.kill()
        process.wait()


def compare(model: Path, python: str, *, threads: int, context: int, rounds: int, limit_s: float) -> dict[str, Any]:
    """Every contender once a round, in turns; the first round warms up and is not counted.

    After `limit_s` no further round begins, once one was counted: with every core taken, llama.cpp's threads wait for
    each other so long that a round lasts minutes.
    """
    served, tokenizer = open_model(model, dtype=pick_dtype("auto"), quantize=Quantize.AUTO)
    if not isinstance(served, Served):
        raise UsageError(f"{model.name} is not served from packed weights.", hint="Give a file of a plain model.")

    def measure(ids: list[int], *, threads: int, drafts: bool) -> Measured:
        torch.set_num_threads(threads)
        return measure_tersely(served, tokenizer, ids, time.perf_counter, drafts=drafts)

    peer = Peer(python, model, threads=threads, context_tokens=context + _ROOM_TOKENS)
    turns: list[dict[str, Measured]] = []
    free = _free_of(threads)
    began = time.monotonic()
    for ids in places(model, context=context, count=rounds + 1):
        turns.append(
            {
                OURS: measure(ids, threads=threads, drafts=False),
                DRAFTED: measure(ids, threads=threads, drafts=True),
                SERVED: measure(ids, threads=free, drafts=True),
                PEER: peer.measure(ids),
            }
        )
        if len(turns) > 1 and time.monotonic() - began > limit_s:
            break
    peer.close()
    turns = turns[1:]
    return {
        "threads": threads,
        "threads_as_served": free,
        "rounds": len(turns),
        "llama_cpp_python": peer.version,
        "tokens_per_second": {
            name: {kind: round(statistics.median(getattr(turn[name], kind) for turn in turns), 1) for kind in KINDS}
            for name in turns[0]
        },
        "ratio": {
            name: {
                kind: round(statistics.median(getattr(t[name], kind) / getattr(t[PEER], kind) for t in turns), 2)
                for kind in KINDS
            }
            for name in (OURS, DRAFTED, SERVED)
        },
        "same_tokens": [_agreement(turn[OURS].tokens, turn[PEER].tokens) for turn in turns],
    }


def _free_of(threads: int) -> int:
    """How many of so many threads have a core that nobody else keeps busy, as the engine counts them; at least 1."""
    taken = CoresTaken()
    time.sleep(_COUNTED_S)
    return min(threads, max(1, own_cores() - round(taken())))


def _agreement(ours: tuple[int, ...], theirs: tuple[int, ...]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))


def draw(figures: dict[str, Any], path: Path) -> None:
    """A group of bars for each setting, one panel a kind of speed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    runs = figures["runs"]
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 1.2 + 1.1 * len(runs)), constrained_layout=True)
    for axis, kind in zip(axes, KINDS, strict=True):
        for offset, name in enumerate((OURS, DRAFTED, SERVED, PEER)):
            at = [place * 5 + offset for place in range(len(runs))]
            values = [run["tokens_per_second"][name][kind] for run in runs]
            bars = axis.barh(at, values, color=("#36c", "#69e", "#3a9", "#888")[offset], label=name)
            axis.bar_label(bars, fmt="%.0f", padding=3)
        axis.set_yticks([place * 5 + 1.5 for place in range(len(runs))], [_setting(run) for run in runs])
        axis.invert_yaxis()
        axis.margins(x=0.14)
        axis.set_title(f"{kind}, tokens/s, {figures['context_tokens']} tokens before")
    axes[1].legend(loc="lower right")
    figure.savefig(path)
    pyplot.close(figure)


def _setting(run: dict[str, Any]) -> str:
    threads = f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}"
    return f"{threads}, one core busy" if run["busy"] else threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file; the embedded model if left out")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--context", type=int, default=1200, help="prompt tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=240, help="seconds a setting, after which no round begins")
    parser.add_argument("--busy", action="store_true", help="again with one core busy")
    parser.add_argument("--name", default="cpu", help="of the result files")
    parser.add_argument("--peer", default=sys.executable, help="an interpreter with llama-cpp-python")
    options = parser.parse_args()
    model = options.model or hub.pull(hub.DEFAULT_MODEL)
    runs = []
    for threads in options.threads:
        for busy in (False, True) if options.busy else (False,):
            with one_core_busy() if busy else nullcontext():
                run = compare(
                    model,
                    options.peer,
                    threads=threads,
                    context=options.context,
                    rounds=options.rounds,
                    limit_s=options.limit,
                )
            runs.append(run | {"busy": busy})
    figures = {
        "model": model.name,
        "context_tokens": options.context,
        "decoded_tokens": DECODED,
        "aims": AIMS,
        "runs": runs,
    }
    path = results.save(options.name, figures)
    draw(figures, path.with_suffix(".png"))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
