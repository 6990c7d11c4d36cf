"""Decode and prefill speed on CPU beside HF transformers on the same weights: in turns, one run, median of ratios.

    python bench/decode.py [--model PATH] [--threads 1] [--context 512] [--rounds 5] [--json FILE]

HF runs eagerly (not compiled) with its own key-value cache, in float32 and in bfloat16, each with its `sdpa` and its
`eager` attention; the ratio is taken to the fastest of the four in each round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402 - the path comes first

from model import hub  # noqa: E402
from model.checkpoint.gguf import GgufFile  # noqa: E402
from model.kv_cache import KvCache  # noqa: E402
from model.load import Quantize, Served, load_served, pick_dtype  # noqa: E402
from model.runner import CHUNK_TOKENS  # noqa: E402
from model.tokenizer import read_tokenizer  # noqa: E402
from tests.model.oracle import hf_model  # noqa: E402

DECODED = 32
Speeds = tuple[float, float]
"""Tokens a second: prefill, decode."""


def measure_tersely(served: Served, ids: list[int]) -> Speeds:
    """Prefill `ids` from nothing in the engine's chunks, then decode greedily."""
    cache = KvCache(served.decoder.kv_shape)
    began = time.perf_counter()
    for start in range(0, len(ids), CHUNK_TOKENS):
        hidden = served.decoder.forward(ids[start : start + CHUNK_TOKENS], cache)
    token = int(served.head(hidden).argmax())
    prefilled = time.perf_counter()
    steps = []
    for _ in range(DECODED):
        started = time.perf_counter()
        token = int(served.head(served.decoder.forward([token], cache)).argmax())
        steps.append(time.perf_counter() - started)
    return len(ids) / (prefilled - began), 1 / statistics.median(steps)


def measure_hf(model: Any, ids: list[int]) -> Speeds:
    """The same with HF: its cache, one forward pass for the prompt, logits of the last token only."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        began = time.perf_counter()
        logits = model(torch.tensor([ids]), past_key_values=cache, logits_to_keep=1).logits
        token = int(logits[0, -1].argmax())
        prefilled = time.perf_counter()
        steps = []
        for _ in range(DECODED):
            started = time.perf_counter()
            logits = model(torch.tensor([[token]]), past_key_values=cache).logits
            token = int(logits[0, -1].argmax())
            steps.append(time.perf_counter() - started)
    return len(ids) / (prefilled - began), 1 / statistics.median(steps)


def contenders(path: Path, ids: list[int]) -> Iterator[tuple[str, Callable[[], Speeds]]]:
    """Name and measurement of each; all are loaded before the first is measured."""
    with GgufFile(path) as file:
        served = load_served(file, dtype=pick_dtype("auto"), quantize=Quantize.AUTO)
    yield "tersely", lambda: measure_tersely(served, ids)
    for dtype in (torch.float32, torch.bfloat16):
        model = hf_model(path, dtype=dtype)
        for attention in ("sdpa", "eager"):

            def measure(model: Any = model, attention: str = attention) -> Speeds:
                model.set_attn_implementation(attention)
                return measure_hf(model, ids)

            yield f"hf {str(dtype).removeprefix('torch.')} {attention}", measure


def run(path: Path, *, context: int, rounds: int) -> dict[str, object]:
    """Every contender once a round, in turns; the first round warms up and is not counted."""
    with GgufFile(path) as file:
        text = "\n".join(part.read_text(encoding="utf-8") for part in sorted((ROOT / "model").glob("*.py")))
        ids = read_tokenizer(file).encode(text)[:context]
    measured: dict[str, list[Speeds]] = {}
    entries = list(contenders(path, ids))
    for turn in range(rounds + 1):
        for name, measure in entries:
            speeds = measure()
            if turn:
                measured.setdefault(name, []).append(speeds)
    best = [
        [max(measured[name][turn][kind] for name in measured if name != "tersely") for kind in (0, 1)]
        for turn in range(rounds)
    ]
    ratios = [
        [ours / theirs for ours, theirs in zip(measured["tersely"][turn], best[turn], strict=True)]
        for turn in range(rounds)
    ]
    return {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "context_tokens": len(ids),
        "rounds": rounds,
        "tokens_per_second": {
            name: {
                kind: round(statistics.median(values), 1)
                for kind, values in zip(("prefill", "decode"), zip(*speeds, strict=True), strict=True)
            }
            for name, speeds in measured.items()
        },
        "ratio_to_best_hf": {
            kind: round(statistics.median(values), 2)
            for kind, values in zip(("prefill", "decode"), zip(*ratios, strict=True), strict=True)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file; the embedded model if left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=512, help="prompt tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = options.model or hub.pull(hub.DEFAULT_MODEL)
    result = json.dumps(run(path, context=options.context, rounds=options.rounds), indent=2)
    print(result)
    if options.json is not None:
        options.json.write_text(result + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
