"""`tersely train` and `tersely corpus`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.errors import UsageError
from model.registry import DEFAULT_MODEL
from tersely.commands.output import print_json, stdout

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_GPU_WORKERS = 8
"""One process makes too few examples for a GPU."""


def command(
    out: Annotated[Path, typer.Option("--out", help="The run's folder; a run that is there goes on.")],
    repo: Annotated[Path | None, typer.Option("--repo", help="A checkout to learn from.")] = None,
    corpus: Annotated[Path | None, typer.Option("--corpus", help="Or a corpus that `tersely corpus` made.")] = None,
    dialogues: Annotated[
        Path | None, typer.Option("--dialogues", help="Or a file of prompts and answers, for an adapter of its own.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="Name or path of the base.")] = DEFAULT_MODEL,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="How long to train now.")] = 60.0,
    decay: Annotated[
        float, typer.Option("--decay", min=0.0, help="Of these, minutes to lower the rate at the end.")
    ] = 12.0,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Adapter to train on, or none; by default the one that the model brings."),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option("--rank", min=1, help="Rank of the adapter's updates; by default that of --from, or 32."),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            "--rounding", help="Train on weights rounded as they will be packed: int4, or none; by default as --from."
        ),
    ] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.0, help="Peak learning rate.")] = 5e-4,
    experts: Annotated[
        int,
        typer.Option("--experts", min=0, help="Make the model that --from gives into a mixture of so many experts."),
    ] = 0,
    chosen: Annotated[int, typer.Option("--chosen", min=1, help="Of these, how many compute each token.")] = 2,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="On a CPU: how many train together, one for each free core.")
    ] = 1,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Processes that make examples; by default 8 beside a GPU.")
    ] = None,
    json: Json = False,
) -> None:
    """Fine-tune an adapter, on your own code or on a corpus; `tersely engine --adapter FILE` serves it.

    Interrupted runs lose at most five minutes: the same command goes on where the last checkpoint is.
    """
    if sum(given is not None for given in (repo, corpus, dialogues)) != 1:
        raise UsageError(
            "Give one of --repo, --corpus and --dialogues.", hint="--repo PATH learns from a checkout of yours."
        )
    from dataclasses import replace

    from model.train.cli import CPU_BUDGETS, GPU_BUDGETS, GPU_LOOP, TrainOptions, train
    from model.train.loop import Limits, LoopConfig
    from model.train.start import shipped_adapter, usual_rank, usual_rounding
    from model.train.upcycle import UpcycleConfig

    on_gpu = device.startswith("cuda")
    if 0 < experts < chosen:
        raise UsageError(f"Of {experts} experts, {chosen} cannot be chosen.", hint="Give a lower --chosen.")
    if start is None:  # a run that is there goes on from its own checkpoint, but experts add to a model that stays
        goes_on = (out / "last.pt").exists() and not experts
        adapter = None if goes_on or dialogues is not None else shipped_adapter(model)
    else:
        adapter = None if start == "none" else Path(start).expanduser()
    if adapter is not None and not adapter.is_file():
        raise UsageError(f"There is no adapter {adapter}.", hint="Give a file that `tersely train` wrote, or none.")
    mixture = UpcycleConfig(experts=experts, chosen=chosen, rank=rank or UpcycleConfig().rank) if experts else None
    rank = mixture.rank if mixture else rank or usual_rank(out, adapter)
    progress = train(
        TrainOptions(
            out=out,
            corpus=corpus,
            repository=repo,
            dialogues=dialogues,
            model=model,
            start=adapter,
            mixture=mixture,
            loop=replace(
                GPU_LOOP if on_gpu else LoopConfig(),
                rank=rank,
                learning_rate=rate,
                rounding=rounding or usual_rounding(out, adapter),
            ),
            limits=Limits(minutes=minutes, decay_minutes=min(decay, minutes)),
            budgets=GPU_BUDGETS if on_gpu else CPU_BUDGETS,
            device=device,
            workers=(_GPU_WORKERS if on_gpu else 0) if workers is None else workers,
            processes=processes,
        )
    )
    kind = "mixture" if experts else "adapter"
    written = out / f"{kind}.safetensors"
    if json:
        print_json({kind: str(written), "steps": progress.step, "tokens": progress.tokens})
    else:
        stdout.print(f"{progress.step} steps, {progress.tokens:,} tokens. The {kind} is {written}", soft_wrap=True)


def corpus_command(
    folder: Annotated[Path, typer.Argument(help="Where to put packages and corpus.")],
    humaneval: Annotated[
        Path | None, typer.Option("--humaneval", help="The benchmark's file, whose text is kept out.")
    ] = None,
    json: Json = False,
) -> None:
    """Fetch the packages that the embedded model learns from, and make a corpus of them with its data card."""
    from model.train.collect import collect

    counted = collect(folder, humaneval=humaneval)
    if json:
        print_json({"corpus": str(folder / "corpus"), "packages": len(counted.packages)})
    else:
        stdout.print(f"{len(counted.packages)} packages. The corpus is {folder / 'corpus'}", soft_wrap=True)
