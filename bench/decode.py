"""Decode and prefill speed on CPU beside HF transformers on the same weights: in turns, one run, median of ratios.

    python -m bench.decode [--model PATH] [--threads 1] [--context 512] [--rounds 5] [--clock cpu]

Each round continues another place of this repository's own code greedily. tersely runs its engine's steps, as for a
completion (with the log-probability of each token), without and with drafts; both must give the same tokens. HF runs
eagerly (not compiled) with its own key-value cache, in float32 and in bfloat16, each with its `sdpa` and its `eager`
attention: float32 with sdpa is what it does unless told otherwise, and the best of the four is taken for each round.

With one thread the clock is that thread's processor time, for all alike, so that others on the machine do not decide;
`--clock wall` for the clock on the wall, which several threads need.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import results
from model import hub
from model.api import Chunk, GenerateRequest, SamplingParams
from model.checkpoint.gguf import GgufFile
from model.errors import EngineError
from model.load import Served, load_served, pick_dtype
from model.merge import AdapterMerge
from model.packer import Quantize
from model.prefix_cache import PrefixCache
from model.runner import Runner
from model.sequence import Sequence
from model.tokenizer import Tokenizer, read_tokenizer
from model.tokenizer_gguf import read_gguf_tokenizer
from model.train.adapter import load_adapter
from tests.model.oracle import hf_model

ROOT = Path(__file__).resolve().parent.parent
DECODED = 48
ALONE, DRAFTED, HF_DEFAULT = "tersely", "tersely with drafts", "hf float32 sdpa"
SHIPPED = "tersely as shipped"
"""With drafts, and with the model's adapter merged."""
KINDS = ("prefill", "decode")


@dataclass(frozen=True, slots=True)
class Measured:
    """One continuation: tokens a second of each kind, the tokens, and how many passes over the model they took."""

    prefill: float
    decode: float
    tokens: tuple[int, ...]
    passes: int = DECODED


Clock = Callable[[], float]
Measure = Callable[[list[int]], Measured]
CLOCKS: dict[str, Clock] = {"cpu": time.thread_time, "wall": time.perf_counter}


def measure_tersely(served: Served, tokenizer: Tokenizer, ids: list[int], now: Clock, *, drafts: bool) -> Measured:
    """The engine's own steps, from an empty cache."""

    def sink(item: Chunk | EngineError) -> None:
        if isinstance(item, EngineError):
            raise item

    prefixes = PrefixCache(served.decoder.kv_shape, budget_bytes=1 << 30, slots=1)
    runner = Runner(served.decoder, served.head, prefixes, drafts=drafts and served.rows_agree)
    sampling = SamplingParams(max_tokens=DECODED + 1, ignore_eos=True, logprobs=0)
    request = GenerateRequest(prompt=tuple(ids), sampling=sampling)
    sequence = Sequence(
        request, ids, tokenizer=tokenizer, end_ids=frozenset(), max_tokens=sampling.max_tokens, sink=sink
    )
    began = now()
    while not sequence.generated:
        if choices := runner.run(sequence):
            sequence.accept(choices)
    prefilled, chunks = now(), runner.steps
    while sequence.finish_reason is None:
        sequence.accept(runner.run(sequence))
    ended = now()
    return Measured(
        prefill=len(ids) / (prefilled - began),
        decode=DECODED / (ended - prefilled),
        tokens=tuple(sequence.generated),
        passes=runner.steps - chunks,
    )


def measure_hf(model: Any, ids: list[int], now: Clock) -> Measured:
    """The same with HF: its cache, one forward pass for the prompt, logits of the last token only."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        began = now()
        logits = model(torch.tensor([ids]), past_key_values=cache, logits_to_keep=1).logits
        tokens = [int(logits[0, -1].argmax())]
        prefilled = now()
        for _ in range(DECODED):
            logits = model(torch.tensor([[tokens[-1]]]), past_key_values=cache).logits
            tokens.append(int(logits[0, -1].argmax()))
        ended = now()
    return Measured(prefill=len(ids) / (prefilled - began), decode=DECODED / (ended - prefilled), tokens=tuple(tokens))


def contenders(path: Path, now: Clock, adapter: Path | None) -> Iterator[tuple[str, Measure]]:
    """Name and measurement of each."""
    with GgufFile(path) as file:
        served = load_served(file, dtype=pick_dtype("auto"), quantize=Quantize.AUTO)
        tokenizer = read_tokenizer(file)
    yield ALONE, lambda ids: measure_tersely(served, tokenizer, ids, now, drafts=False)
    yield DRAFTED, lambda ids: measure_tersely(served, tokenizer, ids, now, drafts=True)
    if adapter is not None:
        merge = AdapterMerge(load_adapter(adapter), base_sha256=_sha256(path), base=path)
        with GgufFile(path) as file:
            quantize = merge.serve_as(Quantize.AUTO)
            shipped = load_served(file, dtype=pick_dtype("auto"), quantize=quantize, transform=merge)
        yield SHIPPED, lambda ids: measure_tersely(shipped, tokenizer, ids, now, drafts=True)
    for dtype in (torch.float32, torch.bfloat16):
        model = hf_model(path, dtype=dtype)
        for attention in ("sdpa", "eager"):

            def measure(ids: list[int], model: Any = model, attention: str = attention) -> Measured:
                model.set_attn_implementation(attention)
                return measure_hf(model, ids, now)

            yield f"hf {str(dtype).removeprefix('torch.')} {attention}", measure


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def places(path: Path, *, context: int, count: int) -> list[list[int]]:
    """So many stretches of `context` tokens, evenly spread over the engine's source."""
    text = "\n".join(part.read_text(encoding="utf-8") for part in sorted((ROOT / "model").glob("*.py")))
    with GgufFile(path) as file:
        ids = read_gguf_tokenizer(file).encode(text)
    stride = (len(ids) - context) // count
    return [ids[place * stride :][:context] for place in range(count)]


def run(
    path: Path, *, context: int, rounds: int, clock: str | None = None, adapter: Path | None = None
) -> dict[str, Any]:
    """Every contender once a round, in turns; the first round warms up and is not counted."""
    clock = clock or ("cpu" if torch.get_num_threads() == 1 else "wall")
    entries = list(contenders(path, CLOCKS[clock], adapter))
    turns: list[dict[str, Measured]] = []
    for ids in places(path, context=context, count=rounds + 1):
        turns.append({name: measure(ids) for name, measure in entries})
        if turns[-1][ALONE].tokens != turns[-1][DRAFTED].tokens:
            raise AssertionError("drafts changed the text")
    turns = turns[1:]
    return {
        "threads": torch.get_num_threads(),
        "clock": clock,
        "context_tokens": context,
        "decoded_tokens": DECODED,
        "rounds": rounds,
        "tokens_per_second": {
            name: {kind: round(_median(getattr(turn[name], kind) for turn in turns), 1) for kind in KINDS}
            for name, _ in entries
        },
        "ratio_to_hf_default": _ratios(turns, lambda turn, kind: getattr(turn[HF_DEFAULT], kind)),
        "ratio_to_best_hf": _ratios(
            turns, lambda turn, kind: max(getattr(one, kind) for name, one in turn.items() if name.startswith("hf"))
        ),
        "tokens_per_pass_with_drafts": [round(DECODED / turn[DRAFTED].passes, 2) for turn in turns],
    }


def _ratios(
    turns: list[dict[str, Measured]], theirs: Callable[[dict[str, Measured], str], float]
) -> dict[str, dict[str, float]]:
    """For each of ours and each kind: the median over rounds of ours / theirs."""
    return {
        name: {
            kind: round(_median(getattr(turn[name], kind) / theirs(turn, kind) for turn in turns), 2) for kind in KINDS
        }
        for name in turns[0]
        if not name.startswith("hf")
    }


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)


def draw(figures: dict[str, Any], path: Path) -> None:
    """Both kinds of speed, a bar a contender."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    speeds = figures["tokens_per_second"]
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 3.5), constrained_layout=True)
    for axis, kind in zip(axes, KINDS, strict=True):
        bars = axis.barh(
            list(speeds),
            [speed[kind] for speed in speeds.values()],
            color=["#888" if name.startswith("hf") else "#36c" for name in speeds],
        )
        axis.bar_label(bars, fmt="%.0f", padding=3)
        axis.set(title=f"{kind}, tokens/s, {figures['threads']} thread(s), {figures['context_tokens']} tokens before")
        axis.invert_yaxis()
        axis.margins(x=0.12)
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file; the embedded model if left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=512, help="prompt tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=sorted(CLOCKS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = options.model or hub.pull(hub.DEFAULT_MODEL)
    adapter = None if options.model else hub.MODELS[hub.DEFAULT_MODEL].adapter_path
    figures = run(model, context=options.context, rounds=options.rounds, clock=options.clock, adapter=adapter)
    path = results.save("decode", figures)
    draw(figures, path.with_suffix(".png"))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
