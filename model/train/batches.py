"""Examples, packed: documents end to end, with the places where an answer is due. Weights make short answers count.

Every token of an answer weighs 1 / √(its length), so that long blocks do not dominate. An end token alone ("nothing
to add") weighs 3, since such answers are few and one token each; so that this does not teach silence where something
is due, the first token of any other answer, with which the model decides to speak, weighs 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.train.examples import Example
from model.train.feeder import Source
from model.train.trees import grow

_EMPTY_WEIGHT = 3.0
_FIRST_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed documents; each is one example, or a tree of some. Legend: N tokens of all documents, M answer tokens."""

    tokens: Tensor
    """[N] token ids."""
    positions: Tensor
    """[N] how many tokens stand before each in its example."""
    lengths: tuple[int, ...]
    """Of the documents."""
    masks: tuple[Tensor | None, ...]
    """For each document, what is added to its scores; None: each token sees all that stands before."""
    places: Tensor
    """[M] where in N the state is that must say each answer token (one before the token)."""
    targets: Tensor
    """[M] the answer tokens."""
    weights: Tensor
    """[M] float32, one per answer token."""
    owners: Tensor
    """[M] which example each answer token belongs to."""


def weigh(example: Example) -> list[float]:
    """The weight of each token of an answer."""
    size = len(example.tokens) - example.answer
    return [_EMPTY_WEIGHT] if size == 1 else [_FIRST_WEIGHT, *[size**-0.5] * (size - 1)]


def pack(examples: Sequence[Example], *, sharing: bool = False) -> Batch:
    """Lay examples end to end; with `sharing`, what neighbours begin with alike stands there once."""
    tokens: list[int] = []
    positions: list[int] = []
    places: list[int] = []
    paths: list[list[int]] = []
    trees = grow(examples, sharing=sharing)
    for tree in trees:
        paths += [[len(tokens) + place for place in path] for path in tree.paths]
        tokens += tree.tokens
        positions += tree.positions
    targets: list[int] = []
    owners: list[int] = []
    weights: list[float] = []
    for number, (example, path) in enumerate(zip(examples, paths, strict=True)):
        weighed = weigh(example)
        places += path[example.answer - 1 : -1]
        targets += example.tokens[example.answer :]
        owners += [number] * len(weighed)
        weights += weighed
    return Batch(
        tokens=torch.tensor(tokens),
        positions=torch.tensor(positions),
        lengths=tuple(len(tree.tokens) for tree in trees),
        masks=tuple(tree.mask() for tree in trees),
        places=torch.tensor(places),
        targets=torch.tensor(targets),
        weights=torch.tensor(weights),
        owners=torch.tensor(owners),
    )


def take(source: Source, first: int, *, tokens: int) -> tuple[list[Example], int]:
    """Examples first, first + 1, … up to `tokens` in all (at least one), and the number of the next one."""
    taken: list[Example] = []
    count = 0
    while True:
        example = source.make(first)
        if taken and count + len(example.tokens) > tokens:
            return taken, first
        taken.append(example)
        count += len(example.tokens)
        first += 1


def split(examples: Sequence[Example], *, tokens: int) -> list[list[Example]]:
    """Cut a step's examples into parts of at most `tokens` each (or one example), to bound memory."""
    parts: list[list[Example]] = []
    count = tokens + 1
    for example in examples:
        count += len(example.tokens)
        if count > tokens:
            parts.append([])
            count = len(example.tokens)
        parts[-1].append(example)
    return parts
