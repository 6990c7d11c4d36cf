"""How terse suggestions are, and how often they are wrong, beside plain stopping rules over the same model and prompts.

At cursors in packages that the model never saw, tersely's whole completer suggests, with the package indexed as its
workspace; then the same prompts are continued to the next newline, and to the next blank line, as a plain client does.

    python -m bench.terse [--count 520] [--rows FILE] [--llama-server PROGRAM]

`--llama-server` asks llama.cpp too, on the same weights (see `bench.terse.infill`), and tersely with the file alone,
which is all that llama.cpp sees: PROGRAM is a `llama-server`, or a `python` with xllamacpp. It answers in a process of
its own, beside this one. `--rows` keeps the raw answers, so that a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench import results
from bench.quality.positions import Position, held_out_positions
from bench.terse import infill, missing, vetoes
from bench.terse.ask import Answers, Peer, ask_all
from bench.terse.figures import figures
from bench.terse.merged import write_merged
from bench.terse.plot import draw
from model.checkpoint.gguf import GgufFile
from model.hub import DEFAULT_MODEL, pull
from model.local import LocalEngine
from model.paths import cache_dir
from model.tokenizer import read_tokenizer
from model.train import corpus
from model.train.start import shipped_adapter

SEED = 23


def unpacked(folder: Path, into: Path) -> dict[str, Path]:
    """The held-out packages' files on disk, a folder each; by package."""
    roots: dict[str, Path] = {}
    for ecosystem in ("pypi", "npm"):
        for package in corpus.read_archives(folder / ecosystem):
            root = roots.setdefault(package.name, into / package.name)
            for path, text in package.files:
                file = root / path
                if file.resolve().is_relative_to(root.resolve()) and not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")
    return roots


async def _ask(
    positions: list[Position], roots: dict[str, Path], answers: Answers, adapter: Path, program: str | None
) -> None:
    """Ask what is not answered yet."""
    base = pull(DEFAULT_MODEL)
    async with AsyncExitStack() as stack:
        peer, about = None, None
        if program is not None:
            merged = cache_dir() / "bench" / f"{results.sha256(adapter)[:16]}.gguf"
            if not merged.exists():
                await asyncio.to_thread(write_merged, base, adapter, merged)
            server = await stack.enter_async_context(infill.LlamaServer(program, merged))
            about = {"program": Path(program).name, **await server.about(), "how": inspect.getdoc(infill)}
        answers.begin(about)
        engine = await asyncio.to_thread(LocalEngine.load, base, adapter=adapter, threads=1)
        stack.push_async_callback(engine.aclose)
        if program is not None:
            with GgufFile(base) as file:
                peer = Peer(server, read_tokenizer(file), (await engine.info()).fim_family)
        async for rows in ask_all(engine, positions, roots, first=answers.next, peer=peer):
            answers.add(rows)


def main() -> None:
    """Parse, ask, count, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.terse", description=__doc__)
    parser.add_argument("--count", type=int, default=520)
    parser.add_argument("--rows", type=Path, help="keep raw answers here, and go on from those that are there")
    parser.add_argument("--adapter", type=Path, help="by default the embedded model's own")
    parser.add_argument("--llama-server", metavar="PROGRAM", help="a llama-server, or a python with xllamacpp")
    parser.add_argument("--figures-only", action="store_true", help="ask nothing: count what --rows has")
    parser.add_argument("--dry", action="store_true", help="print the figures, and save nothing")
    parser.add_argument(
        "--no-vetoes", action="store_true", help="leave out what needs no model: false vetoes, missing names"
    )
    arguments = parser.parse_args()
    folder = cache_dir() / "held-out-packages" / "held-out"
    positions = held_out_positions(folder, count=arguments.count, seed=SEED)
    roots = unpacked(folder, cache_dir() / "bench" / "terse")
    adapter = arguments.adapter or shipped_adapter(DEFAULT_MODEL)
    assert adapter is not None
    digest = results.sha256(adapter)
    with tempfile.TemporaryDirectory(prefix="tersely-bench-") as scratch:
        answers = Answers(arguments.rows or Path(scratch) / "rows.jsonl", adapter_sha256=digest)
        if not arguments.figures_only:
            asyncio.run(_ask(positions, roots, answers, adapter, arguments.llama_server))
    found: dict[str, Any] = {
        "seed": SEED,
        "adapter_sha256": digest,
        "llama.cpp": answers.peer,
        **figures(positions[: answers.next], answers.rows),
    }
    if not arguments.no_vetoes:
        python = sorted(root for root in roots.values() if any(root.rglob("*.py")))
        found["vetoes"] = vetoes.run(python)
        found["missing_names"] = missing.run(python)
    if not arguments.dry:
        written = results.save("terse", found)
        draw(found, written.with_suffix(".png"))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
