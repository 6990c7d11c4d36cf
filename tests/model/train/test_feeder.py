"""Examples made ahead by workers are the same ones, in whatever order they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from model.train.corpus import SourceFile
from model.train.examples import ExampleMaker
from model.train.feeder import Feeder
from tests.model.train.tiny_corpus import encode


@dataclass(frozen=True)
class Recipe:
    files: tuple[SourceFile, ...]

    def __call__(self) -> ExampleMaker:
        return ExampleMaker(self.files, encode=encode, seed=5)


def test_workers_change_nothing(corpus: list[SourceFile]) -> None:
    recipe = Recipe(tuple(corpus))
    here = recipe()
    with Feeder(recipe, workers=2) as feeder:
        for index in [*range(200), 7, 300, 301, 64]:
            assert feeder.make(index) == here.make(index), index
