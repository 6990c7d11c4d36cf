"""What `tersely train` does: a base, a corpus, a run folder, and an adapter at the end.

The command line itself is the launcher's; these are the functions that it calls, with plain options.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder
from model.decoder import Decoder
from model.errors import PullError, UsageError
from model.fim import FORMATS
from model.hub import resolve
from model.registry import DEFAULT_MODEL
from model.tokenizer import Tokenizer, read_tokenizer
from model.train import archive, corpus
from model.train.adapter import Adapter, AdapterInfo
from model.train.archive import Package
from model.train.corpus import SourceFile
from model.train.examples import FAMILY, Budgets, ExampleMaker
from model.train.loop import Limits, LoopConfig, Progress, Trainer
from model.train.packed import PackedDecoder

CPU_BUDGETS = Budgets(
    prefix_chars=(40, 800),
    suffix_chars=(20, 300),
    long_share=0.04,
    long_chars=2000,
    snippets_share=0.4,
    snippet_chars=200,
    max_snippets=2,
)
"""Short contexts, since only the answer has loss: on one core, more answers teach more than longer contexts."""
_VALIDATION_PACKAGES = 25
"""One package in this many is kept for validation."""
_VALIDATION_SEED = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train, on what, where to, for how long."""

    out: Path
    """The run folder: a run that is there is resumed."""
    corpus: Path | None = None
    """A folder that `collect` wrote."""
    repository: Path | None = None
    """Or a checkout, to learn from its own code."""
    model: str = DEFAULT_MODEL
    loop: LoopConfig = field(default_factory=LoopConfig)
    limits: Limits = field(default_factory=lambda: Limits(minutes=60, decay_minutes=12))
    budgets: Budgets = CPU_BUDGETS
    validation_examples: int = 192
    device: str = "cpu"


def collect(folder: Path, *, humaneval: Path | None, report: bool = True) -> corpus.DataCard:
    """Fetch the packages of `sources.json`, and write the corpus and its data card into `folder`.

    `humaneval`: the benchmark's file, to keep its text out.
    """
    for held_out in (False, True):
        fetch_all(folder, held_out=held_out)
    lines = corpus.humaneval_lines(humaneval) if humaneval is not None else frozenset()
    files, card = corpus.build(
        chain.from_iterable(corpus.read_archives(folder / name) for name in ("pypi", "npm")),
        excluded_lines=lines,
        held_out=chain.from_iterable(corpus.read_archives(folder / "held-out" / name) for name in ("pypi", "npm")),
    )
    corpus.save(files, card, folder / "corpus")
    if report:
        print(f"{sum(card.files.values())} files, {sum(card.chars.values()) / 1e6:.0f} M characters in {folder}")
    return card


def fetch_all(folder: Path, *, held_out: bool) -> None:
    """Fetch the packages that are learned from, or those held out, into a folder for each registry.

    One package less is no reason to stop: what failed is reported, and the data card lists what went in.
    """
    for ecosystem in ("pypi", "npm"):
        target = (folder / "held-out" if held_out else folder) / ecosystem
        for name, version in corpus.sources(ecosystem, held_out=held_out).items():
            try:
                archive.fetch(name, version, ecosystem=ecosystem, folder=target)
            except PullError as error:
                print(error, file=sys.stderr)


def train(options: TrainOptions) -> Progress:
    """Train, or go on with, the run in `options.out`; write its adapter there as `adapter.safetensors`.

    Raises `UsageError` for options that do not fit, `ModelError`s for the base.
    """
    torch.set_num_threads(1 if options.device == "cpu" else torch.get_num_threads())
    base = resolve(options.model)
    with GgufFile(base) as file:
        tokenizer = read_tokenizer(file)
        decoder = load_decoder(file).to(options.device)
    trainer = build_trainer(options, wrap(decoder, options.loop, control_ids(tokenizer)), tokenizer)
    progress = trainer.run(options.limits)
    if options.loop.rank is not None:
        export(options.out / "last.pt", base=base).save(options.out / "adapter.safetensors")
    return progress


def wrap(decoder: Decoder, config: LoopConfig, special_ids: tuple[int, ...]) -> PackedDecoder:
    """The decoder with trained projections in place of its own."""
    return PackedDecoder(decoder, rank=config.rank, scale=config.scale, special_ids=special_ids, seed=config.seed)


def build_trainer(options: TrainOptions, model: PackedDecoder, tokenizer: Tokenizer) -> Trainer:
    """The loop over the corpus or the repository that `options` names."""
    files = _files(options)
    kept = [file for file in files if zlib.crc32(file.package.encode()) % _VALIDATION_PACKAGES == 0]
    seen = [file for file in files if zlib.crc32(file.package.encode()) % _VALIDATION_PACKAGES]
    maker = ExampleMaker(seen, encode=tokenizer.encode_prompt, seed=options.loop.seed, budgets=options.budgets)
    check = []
    if kept and options.validation_examples:
        other = ExampleMaker(kept, encode=tokenizer.encode_prompt, seed=_VALIDATION_SEED, budgets=options.budgets)
        check = [other.make(index) for index in range(options.validation_examples)]
    return Trainer(model, maker, config=options.loop, folder=options.out, validation=check)


def control_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The spare tokens that the layout uses: their embedding rows are trained."""
    row = FORMATS[FAMILY]
    names = [name for name in (row.file_separator, row.suffix, row.prefix) if name is not None]
    return tuple(tokenizer.special_id(name) for name in names)


def export(checkpoint: Path, *, base: Path, note: str = "") -> Adapter:
    """What a low-rank run had learned when `checkpoint` (such as its `last.pt`) was written, as an adapter.

    Raises `UsageError` for a run that trained whole weights.
    """
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    rank, scale = state["config"]["rank"], state["config"]["scale"]
    if rank is None:
        raise UsageError("This run trained whole weights, which no adapter holds.", hint="Train with a rank.")
    with GgufFile(base) as file:
        special_ids = control_ids(read_tokenizer(file))
    learned: dict[str, Tensor] = state["trained"]
    updates = {
        name.removeprefix("decoder.").removesuffix(".a"): (tensor, learned[name.removesuffix("a") + "b"])
        for name, tensor in learned.items()
        if name.endswith(".a")
    }
    digest = hashlib.sha256(base.read_bytes()).hexdigest()
    info = AdapterInfo(base_sha256=digest, rank=rank, scale=scale, family=FAMILY, special_ids=special_ids, note=note)
    return Adapter(info, updates, learned["special_rows"])


def _files(options: TrainOptions) -> list[SourceFile]:
    if options.repository is not None:
        return repository_files(options.repository)
    if options.corpus is None:
        raise UsageError("Nothing to train on.", hint="Give a repository, or a folder that `collect` wrote.")
    return corpus.load(options.corpus)


def repository_files(root: Path) -> list[SourceFile]:
    """The files of a checkout that are worth learning from, each folder under the root as a package of its own."""
    package = Package("repository", root.resolve().name, "", "MIT", tuple(_tracked(root)))
    files, _ = corpus.build([package], excluded_lines=frozenset())
    if not files:
        raise UsageError(
            f"{root} has no Python, TypeScript or JavaScript to learn from.", hint="Is it the right folder?"
        )
    return [replace(file, package=file.package + "/" + file.path.split("/", 1)[0]) for file in files]


def _tracked(root: Path) -> Iterable[tuple[str, str]]:
    """Files that git tracks; without git, all of them."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    for name in names:
        path = root / name
        if archive.is_source(name, path.stat().st_size if path.is_file() else 0):
            yield name, path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
