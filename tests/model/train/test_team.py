"""Several processes against one: the same batches, the same losses, nearly the same weights, and clear ends."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.errors import TrainingError, UsageError
from model.train.cli import TrainOptions, train
from model.train.corpus import SourceFile
from model.train.examples import ExampleMaker
from model.train.loop import Limits, LoopConfig
from model.train.team import Team, TeamSource, together
from tests.model.train.test_cli import base, repository  # noqa: F401 - fixtures
from tests.model.train.tiny_corpus import encode

LOOP = LoopConfig(rank=2, learning_rate=1e-2, batch_tokens=1600, micro_tokens=800, warmup_steps=1)


def losses(folder: Path) -> list[float]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.slow
def test_two_processes_train_as_one_does(base: Path, repository: Path, tmp_path: Path) -> None:  # noqa: F811
    """Bfloat16 sums differ with what is computed side by side, so the weights agree to a few per cent of their way."""
    options = TrainOptions(
        out=tmp_path / "one", repository=repository, model=str(base), loop=LOOP, limits=Limits(steps=4)
    )
    one = train(options)
    both = replace(options, out=tmp_path / "two", processes=2)
    train(replace(both, limits=Limits(steps=2)))
    two = train(both)  # goes on from the checkpoint of the first two steps
    assert (two.step, two.tokens, two.answer_tokens, two.next_example) == (
        one.step,
        one.tokens,
        one.answer_tokens,
        one.next_example,
    )
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-3)
    mine, theirs = (torch.load(tmp_path / run / "last.pt")["trained"] for run in ("one", "two"))
    moved = torch.cat([mine[name].flatten() for name in mine if name.endswith(".b")])
    apart = torch.cat([(mine[name] - theirs[name]).flatten() for name in mine if name.endswith(".b")])
    assert apart.norm() < 0.05 * moved.norm()


def test_shares_are_even_and_whole(corpus: list[SourceFile]) -> None:
    examples = [ExampleMaker(corpus, encode=encode, seed=1).make(index) for index in range(20)]
    shares = [Team(rank, 3).share(examples) for rank in range(3)]
    assert sorted(id(example) for share in shares for example in share) == sorted(map(id, examples))
    loads = [sum(len(example.tokens) for example in share) for share in shares]
    assert max(loads) - min(loads) <= max(len(example.tokens) for example in examples)
    assert Team().share(examples) == examples


class Numbered:
    """A source whose examples are their numbers, and a team that sees what all of its members would make."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def make(self, index: int) -> Any:
        self.made.append(index)
        return index


def test_examples_come_in_order_each_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, team = Numbered(), Team(1, 3)
    monkeypatch.setattr(Team, "gather", lambda self, mine: [[one + rank - 1 for one in mine] for rank in range(3)])
    source = TeamSource(numbers, team)
    assert [source.make(index) for index in range(5, 105)] == list(range(5, 105))
    assert numbers.made == list(range(6, 6 + 3 * len(numbers.made), 3))
    assert 100 <= 3 * len(numbers.made) < 200


def _die(team: Team) -> None:
    if not team.leads:
        os._exit(3)
    team.agree(1)
    team.add([torch.ones(1)])


def _reach(team: Team) -> tuple[int, list[float], list[list[str]]]:
    tensors = [torch.full((2,), float(team.rank + 1)), torch.full((1, 1), 10.0 * team.rank)]
    team.add(tensors)
    return team.agree(team.rank + 7), [float(tensor.sum()) for tensor in tensors], team.gather([f"from {team.rank}"])


def test_members_add_agree_and_gather() -> None:
    assert together(_reach, size=2) == (7, [6.0, 10.0], [["from 0"], ["from 1"]])
    assert together(_reach, size=1) == (7, [2.0, 0.0], [["from 0"]])


def test_the_death_of_a_member_is_told() -> None:
    with pytest.raises(TrainingError, match="exit code 3"):
        together(_die, size=2)


def _refuse(team: Team) -> None:
    raise UsageError(f"Not with {team.size}.", hint="Go.")


def test_an_error_of_all_is_the_leaders(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="Not with 2"):
        together(_refuse, size=2)
    assert "Traceback" not in capfd.readouterr().err


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    options = TrainOptions(out=tmp_path, processes=2, device="cuda")
    with pytest.raises(UsageError, match="on a CPU only"):
        train(options)
    with pytest.raises(UsageError, match="their own examples"):
        train(replace(options, device="cpu", workers=1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no device cuda:0"):
        train(TrainOptions(out=tmp_path, device="cuda:0"))
