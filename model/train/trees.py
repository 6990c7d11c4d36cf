"""Examples that begin alike, laid out as trees: what they share is computed once. Changes the cost, never the loss.

A tree's tokens stand in a line; each sees those on its own way from the root, and has its place on that way as its
position. `model.train.packed` computes with the masks that say so.

Legend: T tokens of a tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.train.examples import Example

LEAST_SHARED = 24
"""Tokens that examples must share for a tree of them to pay."""
MOST_TOKENS = 512
"""Attention costs the square of a tree's tokens, so none grows beyond this."""


@dataclass(slots=True)
class Tree:
    """One example, or several that begin alike."""

    tokens: list[int] = field(default_factory=list)
    """[T] token ids, every branch behind what it branches from."""
    positions: list[int] = field(default_factory=list)
    """[T] how many tokens stand before each on its way from the root."""
    paths: list[list[int]] = field(default_factory=list)
    """For each example, where in the tree its tokens are."""
    _branches: list[tuple[int, int, int]] = field(default_factory=list)
    _following: dict[tuple[int, int], int] = field(default_factory=dict)

    def shared(self, tokens: Sequence[int]) -> list[int]:
        """The way that is there already, along the first of these tokens."""
        path: list[int] = []
        for token in tokens:
            found = self._following.get((path[-1] if path else -1, token))
            if found is None:
                break
            path.append(found)
        return path

    def add(self, tokens: Sequence[int]) -> None:
        """Let an example grow from what it shares."""
        path, start = self.shared(tokens), len(self.tokens)
        self._branches.append((path[-1] if path else -1, start, start + len(tokens) - len(path)))
        for position in range(len(path), len(tokens)):
            self._following[path[-1] if path else -1, tokens[position]] = len(self.tokens)
            path.append(len(self.tokens))
            self.tokens.append(tokens[position])
            self.positions.append(position)
        self.paths.append(path)

    def mask(self) -> Tensor | None:
        """[T, T] float32 to add to the scores: 0 where a token (row) sees another, else -inf; None for one example,
        which sees all that stands before."""
        if len(self.paths) == 1:
            return None
        size = len(self.tokens)
        sees = torch.zeros(size, size, dtype=torch.bool)
        for parent, start, end in self._branches:
            if parent >= 0:
                sees[start:end] = sees[parent]
            sees[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        return torch.zeros(size, size).masked_fill_(~sees, float("-inf"))


def grow(examples: Sequence[Example], *, sharing: bool) -> list[Tree]:
    """The examples as trees, in their order: neighbours that begin alike share one. Without `sharing`, one each."""
    trees: list[Tree] = []
    for example in examples:
        common = len(trees[-1].shared(example.tokens)) if trees and sharing else 0
        if common < LEAST_SHARED or len(trees[-1].tokens) + len(example.tokens) - common > MOST_TOKENS:
            trees.append(Tree())
        trees[-1].add(example.tokens)
    return trees
