"""Examples as trees: what they share is there once, and what is computed is the same as of each alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from model.decoder import Decoder
from model.train import trees
from model.train.batches import Batch, pack
from model.train.examples import Example
from model.train.packed import PackedDecoder
from model.train.trees import LEAST_SHARED, MOST_TOKENS, grow

HEAD = (257, *range(40, 39 + LEAST_SHARED))


def example(*tail: int, answer: int = 2) -> Example:
    tokens = (*HEAD, *tail)
    return Example(tokens, len(tokens) - answer, "a", "")


EXAMPLES = [
    example(1, 2, 3, 4),
    example(1, 2, 5, 6, 7),
    example(1, 2, 3, 4, 8, 9),
    example(258, 201),
    Example((5, 6, 7), 1, "a", ""),
    Example((9, *HEAD), 3, "a", ""),
]


def test_what_is_shared_stands_there_once() -> None:
    first, second, third = grow(EXAMPLES, sharing=True)
    assert first.tokens == [*HEAD, 1, 2, 3, 4, 5, 6, 7, 8, 9, 258, 201]
    assert len(first.paths) == 4
    assert second.tokens == [5, 6, 7]
    assert third.tokens == [9, *HEAD]
    for tree, start in ((first, 0), (second, 4), (third, 5)):
        for number, path in enumerate(tree.paths):
            assert tuple(tree.tokens[place] for place in path) == EXAMPLES[start + number].tokens
            assert [tree.positions[place] for place in path] == list(range(len(path)))


def test_each_token_sees_its_own_way_alone() -> None:
    tree = grow(EXAMPLES[:4], sharing=True)[0]
    mask = tree.mask()
    assert mask is not None
    for path in tree.paths:
        for place, position in zip(path, range(len(path)), strict=True):
            assert (mask[place] == 0).nonzero().flatten().tolist() == path[: position + 1]
    assert grow(EXAMPLES[4:5], sharing=True)[0].mask() is None


def test_no_tree_grows_beyond_its_bound() -> None:
    many = [example(*range(number, number + 60)) for number in range(100, 200)]
    found = grow(many, sharing=True)
    assert 1 < len(found) < len(many)
    assert max(len(tree.tokens) for tree in found) <= MOST_TOKENS


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=12), min_size=1, max_size=8))
def test_trees_hold_any_examples(rows: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "LEAST_SHARED", 1)
        grown = grow([Example(tuple(row), 1, "a", "") for row in rows], sharing=True)
    held = [[tree.tokens[place] for place in path] for tree in grown for path in tree.paths]
    assert held == rows


def losses(model: PackedDecoder, batch: Batch) -> torch.Tensor:
    hidden = model(batch.tokens, batch.lengths, positions=batch.positions, masks=batch.masks)
    return functional.cross_entropy(model.logits(hidden[batch.places]), batch.targets, reduction="none")


def test_losses_and_gradients_are_those_of_each_alone(decoder: Decoder) -> None:
    apart, together = pack(EXAMPLES), pack(EXAMPLES, sharing=True)
    assert len(together.tokens) < len(apart.tokens)
    assert torch.equal(apart.targets, together.targets)
    assert torch.equal(apart.owners, together.owners)
    model = PackedDecoder(decoder, rank=4, scale=1.0, special_ids=(257, 258), seed=0)
    with torch.no_grad():
        for name, parameter in model.trained().items():
            if name.endswith(".b"):  # updates begin at nothing, where one of their factors gets no gradient
                parameter.normal_(std=0.02)
    model.refresh()
    found: list[tuple[torch.Tensor, dict[str, torch.Tensor]]] = []
    for batch in (apart, together):
        model.zero_grad()
        loss = losses(model, batch)
        (loss * batch.weights).sum().backward()  # type: ignore[no-untyped-call]
        gradients = {name: one.grad.clone() for name, one in model.trained().items() if one.grad is not None}
        found.append((loss.detach(), gradients))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0.06)  # bfloat16
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        other = found[1][1][name]
        assert functional.cosine_similarity(gradient.flatten(), other.flatten(), dim=0) > 0.995, name
