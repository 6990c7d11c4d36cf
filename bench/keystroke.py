"""From key to ghost text: 200 keys typed into the real language server over the sample repository.

Prints p50 and p95 from the key to the suggestion, the tokens that each key made the engine read, and decode speed,
beside HF transformers on the same weights in the same run. HF gets its best of float32 and bfloat16 and its own KV
cache within a completion; from key to key it reads the prompt again, as `generate` does.

    python -m bench.keystroke [--keys 200] [--threads 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench import decode, results
from bench.editor import Editor, Key
from editors.headless.demo import Place, load_places
from model import hub
from model.checkpoint.gguf import GgufFile
from model.errors import EngineError
from model.paths import models_dir
from model.registry import DEFAULT_MODEL
from model.service import launcher
from model.tokenizer import read_tokenizer

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"
_LANGUAGE = {".py": "python", ".ts": "typescript"}


@dataclass(frozen=True, slots=True)
class Step:
    """A key, and what the engine's own counters say that it cost."""

    key: Key
    prompt_tokens: int
    read_tokens: int
    generated_tokens: int
    prefix: str


class Counters:
    """The engine's Prometheus counters, read between keys."""

    NAMES = ("tersely_prompt_tokens_total", "tersely_cached_tokens_total", "tersely_generated_tokens_total")

    def __init__(self) -> None:
        (self._engine,) = [engine for engine in launcher.list_engines() if engine.model == DEFAULT_MODEL]
        path = self._engine.socket_path
        transport = httpx.AsyncHTTPTransport(uds=path) if path else None
        token = self._engine.token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(transport=transport, base_url=self._engine.url, headers=headers)

    async def read(self) -> tuple[int, ...]:
        page = (await self._client.get("/metrics")).text
        values = dict(line.rsplit(" ", 1) for line in page.splitlines() if line and line[0] != "#")
        return tuple(int(float(values[name])) for name in self.NAMES)

    async def aclose(self) -> None:
        await self._client.aclose()


def trace(places: list[Place], keys: int) -> list[tuple[Place, str]]:
    """What is typed where: at each place the first characters of what its author wrote, `keys` in all."""
    typed: list[tuple[Place, str]] = []
    rest = keys
    for number, place in enumerate(places):
        share = min(len(place.cut), -(-rest // (len(places) - number)))
        typed.append((place, place.cut[:share]))
        rest -= share
    if rest > 0:
        typed.append((Place("notes.py", "", 0, ""), _NOTES[:rest]))
    return typed


_NOTES = """from ledger import Account, AccountKind, Journal, Money


def open_books() -> Journal:
    bank = Account("bank", AccountKind.ASSET)
    return Journal()
"""


async def replay(keys: int, root: Path, threads: int) -> list[Step]:
    """Type the trace; each key waits for its answer, as the slowest typist would."""
    editor = Editor()
    await editor.start(root, {"engine": {"threads": threads}, "lookAhead": False})  # counted are keys alone
    steps: list[Step] = []
    try:
        await _warm_up(editor, root)
        counters = Counters()
        for place, typed in trace(load_places(SAMPLE), keys):
            path = root / place.path
            editor.open(path, _LANGUAGE[path.suffix], place.text, place.offset)
            for number, char in enumerate(typed, 1):
                before = await counters.read()
                key = await editor.type(char)
                prompt, cached, generated = (new - old for new, old in zip(await counters.read(), before, strict=True))
                text = place.text[: place.offset] + typed[:number]
                steps.append(Step(key, prompt, prompt - cached, generated, text))
            editor.close()
        await counters.aclose()
    finally:
        await editor.stop()
    return steps


async def _warm_up(editor: Editor, root: Path, *, limit_s: float = 120.0) -> None:
    """Ask at a place that the trace does not visit until the engine has read a prompt, whatever it thinks of it."""
    text = "import os\nimport sys\n\n\ndef main():\n    print(os."
    editor.open(root / "warm_up.py", "python", text, len(text))
    give_up_s = time.monotonic() + limit_s
    while not await _has_read():
        if time.monotonic() > give_up_s:
            raise TimeoutError("the engine reads nothing: is it up? `tersely doctor` tells")
        await editor.ask()
        await asyncio.sleep(0.1)
    editor.close()


async def _has_read() -> bool:
    if not any(engine.model == DEFAULT_MODEL for engine in launcher.list_engines()):
        return False
    counters = Counters()
    try:
        return (await counters.read())[0] > 0
    except (httpx.TransportError, EngineError):
        return False  # it has not started yet
    finally:
        await counters.aclose()


def hf_keys(path: Path, steps: list[Step], *, count: int) -> dict[str, Any]:
    """What HF needs for some of the same keys: read the prompt, write as many tokens as the engine wrote."""
    import torch

    asked = [step for step in steps if step.generated_tokens]
    chosen = asked[:: max(1, len(asked) // count)][:count]
    with GgufFile(path) as file:
        tokenizer = read_tokenizer(file)
    milliseconds: dict[str, list[float]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = decode.hf_model(path, dtype=dtype)
        for step in [chosen[0], *chosen]:
            # As many tokens as our prompt had: which ones does not matter for speed.
            ids = (tokenizer.encode(step.prefix) * step.prompt_tokens)[-step.prompt_tokens :]
            started_s = time.perf_counter()
            _hf_generate(model, ids, step.generated_tokens)
            milliseconds.setdefault(str(dtype), []).append((time.perf_counter() - started_s) * 1000)
    best = [min(values) for values in zip(*(times[1:] for times in milliseconds.values()), strict=True)]
    ours = [step.key.latency_ms for step in chosen]
    return {
        "keys": len(chosen),
        "hf_ms": {"p50": results.percentile(best, 0.5), "p95": results.percentile(best, 0.95)},
        "tersely_ms_same_keys": {"p50": results.percentile(ours, 0.5), "p95": results.percentile(ours, 0.95)},
        "median_ratio": statistics.median(theirs / mine for theirs, mine in zip(best, ours, strict=True)),
    }


def _hf_generate(model: Any, ids: list[int], tokens: int) -> None:
    import torch

    with torch.inference_mode():
        model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
        )


def summarize(steps: list[Step]) -> dict[str, Any]:
    """Figures over all keys, and over those that asked the engine."""
    asked = [step for step in steps if step.prompt_tokens]
    latencies = [step.key.latency_ms for step in steps]
    asked_ms = [step.key.latency_ms for step in asked]
    return {
        "keys": len(steps),
        "keys_answered_without_the_engine": len(steps) - len(asked),
        "keys_with_a_suggestion": sum(step.key.suggestion is not None for step in steps),
        "key_to_suggestion_ms": {"p50": results.percentile(latencies, 0.5), "p95": results.percentile(latencies, 0.95)},
        "key_to_suggestion_ms_when_asked": {
            "p50": results.percentile(asked_ms, 0.5),
            "p95": results.percentile(asked_ms, 0.95),
        },
        "prefill_tokens_per_key": {
            "mean": statistics.mean(step.read_tokens for step in steps),
            "median_when_asked": statistics.median(step.read_tokens for step in asked),
        },
        "prompt_tokens_per_key_when_asked": statistics.mean(step.prompt_tokens for step in asked),
        "generated_tokens_per_key": statistics.mean(step.generated_tokens for step in steps),
    }


def draw(steps: list[Step], speeds: dict[str, Any], path: Path) -> None:
    """Latency and tokens read a key, and decode speed beside HF."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (latency, read, speed) = pyplot.subplots(1, 3, figsize=(14, 4), constrained_layout=True)
    colours = ["#0a7" if step.prompt_tokens == 0 else "#36c" for step in steps]
    latency.scatter(range(len(steps)), [step.key.latency_ms for step in steps], s=8, c=colours)
    latency.set(title="key to suggestion (green: without the engine)", xlabel="key", ylabel="ms", yscale="log")
    read.bar(range(len(steps)), [step.read_tokens for step in steps], width=1.0, color="#36c")
    read.set(title="prompt tokens read", xlabel="key", ylabel="tokens")
    names = list(speeds["tokens_per_second"])
    speed.barh(names, [speeds["tokens_per_second"][name]["decode"] for name in names], color="#888")
    speed.set(title=f"decode, {speeds['threads']} thread(s)", xlabel="tokens/s")
    speed.invert_yaxis()
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1, help="of the engine and of HF alike")
    parser.add_argument("--rounds", type=int, default=5, help="of the decode comparison")
    options = parser.parse_args()
    model = hub.pull(DEFAULT_MODEL)
    with tempfile.TemporaryDirectory(prefix="tersely-bench-") as folder:
        root = _own_home(Path(folder), model)
        try:
            steps = asyncio.run(replay(options.keys, root, options.threads))
        finally:
            launcher.stop()
    torch_threads(options.threads)
    adapter = hub.MODELS[DEFAULT_MODEL].adapter_path
    speeds = decode.run(model, context=512, rounds=options.rounds, adapter=adapter)
    figures = summarize(steps) | {"beside_hf": hf_keys(model, steps, count=12), "decode": speeds}
    path = results.save("keystroke", figures)
    draw(steps, speeds, path.with_suffix(".png"))
    print(json.dumps(figures, indent=1))


def torch_threads(count: int) -> None:
    """Threads of torch in this process."""
    import torch

    torch.set_num_threads(count)


def _own_home(folder: Path, model: Path) -> Path:
    """A home and a copy of the sample for this run alone, so that its engine is fresh and nobody else's."""
    os.environ["TERSELY_HOME"] = str(folder / "home")
    models_dir().mkdir(parents=True)
    (models_dir() / model.name).symlink_to(model)
    root = folder / "sample"
    shutil.copytree(SAMPLE, root)
    return root


if __name__ == "__main__":
    main()
