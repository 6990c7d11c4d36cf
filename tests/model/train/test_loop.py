"""The loop: it learns, resumes exactly, decays when asked, and stops when asked."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.decoder import Decoder
from model.train.batches import pack, split, take
from model.train.corpus import SourceFile
from model.train.examples import Budgets, ExampleMaker
from model.train.loop import Limits, LoopConfig, Trainer
from model.train.packed import PackedDecoder
from model.train.schedule import Decay, factor
from tests.model.train.tiny_corpus import encode

CONFIG = LoopConfig(
    rank=4, learning_rate=1e-2, batch_tokens=600, micro_tokens=300, warmup_steps=2, validate_steps=4, checkpoint_s=1e9
)
BUDGETS = Budgets(prefix_chars=(10, 80), suffix_chars=(5, 40), long_share=0.0)


def trainer(decoder: Decoder, corpus: list[SourceFile], folder: Path, config: LoopConfig = CONFIG) -> Trainer:
    """A fresh trainer over a copy of the decoder, which resumes what is in the folder."""
    rank, scale = config.rank, config.scale
    model = PackedDecoder(copy.deepcopy(decoder), rank=rank, scale=scale, special_ids=(257, 258, 259), seed=0)
    maker = ExampleMaker(corpus, encode=encode, seed=config.seed, budgets=BUDGETS)
    check = [maker.make(index) for index in range(10_000, 10_010)]
    return Trainer(model, maker, config=config, folder=folder, validation=check)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("rank", [4, None])
def test_a_resumed_run_equals_an_unbroken_one(
    decoder: Decoder, corpus: list[SourceFile], tmp_path: Path, rank: int | None
) -> None:
    config = replace(CONFIG, rank=rank)
    limits = Limits(steps=6, decay_steps=2)
    whole = trainer(decoder, corpus, tmp_path / "whole", config)
    whole.run(limits)
    trainer(decoder, corpus, tmp_path / "broken", config).run(Limits(steps=3))
    resumed = trainer(decoder, corpus, tmp_path / "broken", config)
    assert resumed.progress.step == 3
    resumed.run(limits)
    assert resumed.progress.tokens == whole.progress.tokens
    for name, parameter in whole.model.trained().items():
        assert torch.equal(parameter, resumed.model.trained()[name]), name
    losses = [[row["loss"] for row in log(tmp_path / run) if "loss" in row] for run in ("whole", "broken")]
    assert losses[0] == losses[1]


def test_the_loss_falls(decoder: Decoder, corpus: list[SourceFile], tmp_path: Path) -> None:
    trainer(decoder, corpus, tmp_path).run(Limits(steps=30, decay_steps=5))
    checks = [row["validation"]["loss"] for row in log(tmp_path) if "validation" in row]
    assert checks[-1] < checks[0] - 0.5
    rates = [row["rate"] for row in log(tmp_path) if "rate" in row]
    assert rates[0] < rates[1] == rates[20] == CONFIG.learning_rate
    assert sorted(rates[-5:], reverse=True) == rates[-5:]
    assert rates[-1] < 0.2 * CONFIG.learning_rate


def test_a_file_starts_the_decay_and_the_state_before_it_is_kept(
    decoder: Decoder, corpus: list[SourceFile], tmp_path: Path
) -> None:
    run = trainer(decoder, corpus, tmp_path)
    run.run(Limits(steps=2))
    (tmp_path / "decay").write_text("3")
    done = run.run(Limits())
    assert done.decay == Decay(2, 3)
    assert done.step == 5
    longer = trainer(decoder, corpus, tmp_path / "longer")
    longer.load(tmp_path / "stable.pt")
    assert longer.progress.step == 2
    assert longer.progress.decay is None


def test_a_file_stops_the_run(decoder: Decoder, corpus: list[SourceFile], tmp_path: Path) -> None:
    run = trainer(decoder, corpus, tmp_path)
    (tmp_path / "stop").touch()
    assert run.run(Limits()).step == 0
    assert (tmp_path / "last.pt").exists()


def test_minutes_end_a_run_by_its_decay(decoder: Decoder, corpus: list[SourceFile], tmp_path: Path) -> None:
    progress = trainer(decoder, corpus, tmp_path).run(Limits(minutes=0.02, decay_minutes=0.005))
    assert progress.decay is not None
    assert progress.step == progress.decay.first_step + progress.decay.steps


def test_minutes_without_decay_leave_a_run_to_go_on(decoder: Decoder, corpus: list[SourceFile], tmp_path: Path) -> None:
    limits = Limits(minutes=0.005)
    first = trainer(decoder, corpus, tmp_path).run(limits)
    assert first.step > 0
    assert first.decay is None
    assert not (tmp_path / "stable.pt").exists()
    assert trainer(decoder, corpus, tmp_path).run(limits).step > first.step


def test_a_run_that_has_decayed_goes_on_from_before_its_decay(
    decoder: Decoder, corpus: list[SourceFile], tmp_path: Path
) -> None:
    assert trainer(decoder, corpus, tmp_path).run(Limits(steps=5, decay_steps=2)).decay == Decay(3, 2)
    longer = trainer(decoder, corpus, tmp_path)
    assert (longer.progress.step, longer.progress.decay) == (3, None)
    assert longer.run(Limits(steps=8, decay_steps=2)).decay == Decay(6, 2)
    assert longer.progress.step == 8


def test_micro_batches_change_nothing_but_memory(decoder: Decoder, corpus: list[SourceFile], tmp_path: Path) -> None:
    runs = []
    for micro in (150, 100_000):
        run = trainer(decoder, corpus, tmp_path / str(micro), replace(CONFIG, micro_tokens=micro))
        run.run(Limits(steps=1))
        runs.append(next(row["loss"] for row in log(tmp_path / str(micro)) if "loss" in row))
    assert runs[0] == pytest.approx(runs[1], rel=1e-3)


def test_a_batch_asks_for_the_answers_only(corpus: list[SourceFile]) -> None:
    maker = ExampleMaker(corpus, encode=encode, seed=1, budgets=BUDGETS)
    examples, following = take(maker, 5, tokens=12_000)
    assert following == 5 + len(examples)
    assert sum(len(example.tokens) for example in examples) <= 12_000
    batch = pack(examples)
    said = [token for example in examples for token in example.tokens[example.answer :]]
    assert batch.targets.tolist() == said
    assert batch.tokens[batch.places + 1].tolist() == said
    by_document = torch.zeros(len(examples)).index_add(0, batch.owners, batch.weights.square())
    sizes = [len(example.tokens) - example.answer for example in examples]
    assert 1 in sizes
    expected = [9.0 if size == 1 else 1.0 + (size - 1) / size for size in sizes]
    torch.testing.assert_close(by_document, torch.tensor(expected), rtol=1e-4, atol=0)
    parts = split(examples, tokens=300)
    assert [example for part in parts for example in part] == examples
    assert all(len(part) == 1 or sum(len(example.tokens) for example in part) <= 300 for part in parts)


def test_schedule() -> None:
    decay = Decay(10, 4)
    rates = [factor(step, warmup_steps=4, decay=decay) for step in range(16)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:10] == [1.0] * 6
    assert rates[9] > rates[10] > rates[11] > rates[12] > rates[13] > 0
    assert rates[14:] == [0.0, 0.0]
    assert factor(0, warmup_steps=0, decay=None) == 1.0
