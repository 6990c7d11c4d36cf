"""llama.cpp as a process of its own, asked over its standard streams: one JSON object a line, in and out.

Run by an interpreter that has llama-cpp-python; imports nothing else. A request {"ids": […], "decode": n} is answered
with {"prefill_s": …, "decode_s": …, "tokens": […]}: the time to compute the prompt, and that of n greedy steps after
its first token. An empty line ends it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    path, threads, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import llama_cpp

    model = llama_cpp.Llama(
        path,
        n_ctx=context,
        n_batch=512,
        n_threads=threads,
        n_threads_batch=threads,
        logits_all=False,
        verbose=False,
    )
    print(json.dumps({"version": llama_cpp.__version__}), flush=True)
    for line in sys.stdin:
        if not line.strip():
            return
        asked = json.loads(line)
        print(json.dumps(_measure(model, asked["ids"], asked["decode"])), flush=True)


def _measure(model: Any, ids: list[int], steps: int) -> dict[str, Any]:
    model.reset()
    began = time.perf_counter()
    model.eval(ids)
    tokens = [int(model.sample(temp=0.0, repeat_penalty=1.0))]
    prefilled = time.perf_counter()
    for _ in range(steps):
        model.eval(tokens[-1:])
        tokens.append(int(model.sample(temp=0.0, repeat_penalty=1.0)))
    return {"prefill_s": prefilled - began, "decode_s": time.perf_counter() - prefilled, "tokens": tokens}


if __name__ == "__main__":
    main()
