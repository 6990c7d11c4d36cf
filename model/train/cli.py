"""What `tersely train` does: a base, a corpus, a run folder, and an adapter at the end.

The command line itself is the launcher's; `train` is what it calls, with plain options.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder
from model.errors import UsageError
from model.hub import resolve
from model.registry import DEFAULT_MODEL
from model.tokenizer import read_tokenizer
from model.train import corpus
from model.train.adapter import load_adapter
from model.train.collect import repository_files
from model.train.corpus import SourceFile
from model.train.dialogues import DialogueMaker, load_dialogues, to_example
from model.train.examples import FAMILY, Budgets, Encode, Example, ExampleMaker
from model.train.export import control_ids, export
from model.train.feeder import Feeder, Source
from model.train.loop import Limits, LoopConfig, Progress, Trainer
from model.train.packed import PackedDecoder
from model.train.plot import draw_loss
from model.train.projection import pick_rounding
from model.train.start import record, require_trainable, start_from
from model.train.team import Team, together
from model.train.upcycle import UpcycleConfig, export_mixture, upcycle

CPU_BUDGETS = Budgets(
    prefix_chars=(40, 1200),
    suffix_chars=(20, 400),
    long_share=0.04,
    long_chars=2500,
    snippets_share=0.45,
    snippet_chars=300,
    max_snippets=3,
)
"""Short contexts, since only the answer has loss: on one core, more answers teach more than longer contexts."""
GPU_BUDGETS = Budgets(prefix_chars=(40, 3000), suffix_chars=(20, 1500), long_share=0.1, long_chars=6000)
GPU_LOOP = LoopConfig(batch_tokens=65_536, micro_tokens=32_768, warmup_steps=50, validate_steps=200, checkpoint_s=120)
"""For one large GPU: longer contexts, and steps of about 200 examples. Not measured yet."""
_VALIDATION_PACKAGES = 25
"""One package in this many is kept for validation."""
_VALIDATION_SEED = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train, on what, where to, for how long."""

    out: Path
    """The run folder: a run that is there is resumed."""
    corpus: Path | None = None
    """A folder with a corpus (`model.train.collect.collect` writes `FOLDER/corpus`)."""
    repository: Path | None = None
    """Or a checkout, to learn from its own code."""
    dialogues: Path | None = None
    """Or a file of dialogues, for an adapter that speaks another layout (`model.train.dialogues`)."""
    model: str = DEFAULT_MODEL
    start: Path | None = None
    """An adapter of the same base to train on; None: the base alone."""
    mixture: UpcycleConfig | None = None
    """Make the model that `start` gives into a mixture of this shape, and train its experts and routers alone."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    limits: Limits = field(default_factory=lambda: Limits(minutes=60, decay_minutes=12))
    budgets: Budgets = CPU_BUDGETS
    validation_examples: int = 128
    device: str = "cpu"
    workers: int = 0
    """Processes that make examples; 0: the training process makes them, which on a CPU is enough."""
    processes: int = 1
    """How many train together, each with one thread and a share of every batch. On a CPU only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to build an `ExampleMaker`, here or in a spawned process."""

    corpus: Path | None
    repository: Path | None
    base: Path
    budgets: Budgets
    seed: int
    dialogues: Path | None = None

    def __call__(self) -> Source:
        """The maker of training examples."""
        if self.dialogues is not None:
            return DialogueMaker(load_dialogues(self.dialogues).for_training(), encode=self._encode(), seed=self.seed)
        return self._maker([file for file in self._files() if not _for_validation(file)], self.seed)

    def validation(self, count: int) -> list[Example]:
        """Examples of the packages (or the dialogues) that are kept for validation, always the same; none where there
        is no such one."""
        if self.dialogues is not None:
            rows, encode = load_dialogues(self.dialogues).for_validation(), self._encode()
            return [to_example(row, encode) for row in rows[:count]]
        kept = [file for file in self._files() if _for_validation(file)] if count else []
        if not kept:
            return []
        maker = self._maker(kept, _VALIDATION_SEED)
        return [maker.make(index) for index in range(count)]

    def _maker(self, files: list[SourceFile], seed: int) -> ExampleMaker:
        return ExampleMaker(files, encode=self._encode(), seed=seed, budgets=self.budgets)

    def _encode(self) -> Encode:
        with GgufFile(self.base) as file:
            return read_tokenizer(file).encode_prompt

    def _files(self) -> list[SourceFile]:
        if self.repository is not None:
            return repository_files(self.repository)
        if self.corpus is None:
            raise UsageError("Nothing to train on.", hint="Give a repository, or the folder of a corpus.")
        return corpus.load(self.corpus)


def train(options: TrainOptions) -> Progress:
    """Train, or go on with, the run in `options.out`; write `adapter.safetensors` (of a mixture:
    `mixture.safetensors`) and `loss.png` there.

    Raises `UsageError` for options that do not fit, `ModelError`s for the base and the adapter to start from,
    `TrainingError` when the run cannot go on.
    """
    if options.processes > 1 and options.device != "cpu":
        raise UsageError("Several processes train on a CPU only.", hint="Leave --processes out, or --device.")
    if options.mixture is not None and options.start is None:
        raise UsageError("A mixture is made of a trained model.", hint="Give its adapter with --from FILE.")
    if options.processes > 1 and options.workers:
        raise UsageError("Processes that train together make their own examples.", hint="Leave workers out.")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"There is no device {options.device}.", hint="Train with --device cpu.")
    base = resolve(options.model)
    require_trainable(base)
    record(options.out, options.start)
    progress = together(partial(_train, options, base), size=options.processes)
    _export(options, base)
    draw_loss(options.out / "log.jsonl", options.out / "loss.png")
    return progress


def _export(options: TrainOptions, base: Path) -> None:
    last = options.out / "last.pt"
    if options.mixture is not None and options.start is not None:
        mixture = export_mixture(last, base=base, adapter=options.start, config=options.mixture)
        mixture.save(options.out / "mixture.safetensors")
        beside = options.out / "adapter.safetensors"  # serving needs both
        if options.start.resolve() != beside.resolve():
            shutil.copyfile(options.start, beside)
    elif options.loop.rank is not None:
        export(last, base=base, family=_family(options)).save(options.out / "adapter.safetensors")


def _train(options: TrainOptions, base: Path, team: Team) -> Progress:
    """What each process of a run does."""
    if options.device == "cpu":
        torch.set_num_threads(1)  # a second thread gains little, and loses all when its core is taken
    loop = options.loop
    recipe = Recipe(
        corpus=options.corpus,
        repository=options.repository,
        base=base,
        budgets=options.budgets,
        seed=loop.seed,
        dialogues=options.dialogues,
    )
    with ExitStack() as stack:
        check = recipe.validation(options.validation_examples) if team.leads else []
        source = stack.enter_context(Feeder(recipe, workers=options.workers)) if options.workers else recipe()
        model = _load(base, options)
        trainer = Trainer(model, source, config=loop, folder=options.out, validation=check, team=team)
        return trainer.run(options.limits)


def _load(base: Path, options: TrainOptions) -> PackedDecoder:
    """The base with trained projections in place of its own, as the run starts."""
    with GgufFile(base) as file:
        special_ids = control_ids(read_tokenizer(file))
        decoder = load_decoder(file).to(options.device)
    loop, mixture = options.loop, options.mixture
    adapter = None if options.start is None else load_adapter(options.start)
    rank = adapter.info.rank if mixture is not None and adapter is not None else loop.rank
    model = PackedDecoder(
        decoder,
        rank=rank,
        scale=loop.scale,
        special_ids=special_ids,
        seed=loop.seed,
        rounding=pick_rounding(loop.rounding),
    )
    if adapter is not None:
        start_from(model, adapter, base_sha256=hashlib.sha256(base.read_bytes()).hexdigest(), family=_family(options))
    if mixture is not None:
        upcycle(model, mixture, seed=loop.seed)
    return model


def _family(options: TrainOptions) -> str:
    """The layout that the run teaches."""
    return FAMILY if options.dialogues is None else load_dialogues(options.dialogues).family


def _for_validation(file: SourceFile) -> bool:
    return zlib.crc32(file.package.encode()) % _VALIDATION_PACKAGES == 0
