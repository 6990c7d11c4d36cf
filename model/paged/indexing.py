"""Layers that choose what is seen, over pages: which tokens each query sees, and attention to those alone.

Of what a sequence holds every index key is scored; of the latents only what was chosen is read. Shapes follow from the
room that there is in its pages, never from what it holds.

Legend: N new tokens of all sequences, B sequences, M new tokens of each, P pages, S tokens that these have room for,
K tokens seen, C places, H heads, J index heads, I index dimensions, E key and V value dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.layers.indexed import Indexer, highest
from model.paged.attention import Held, Look
from model.paged.pool import PAGE_TOKENS, pages_for
from model.paged.scoring import has_kernel, score
from model.paged.spans import Spans, Steps

_MOST_NUMBERS = 1 << 25
"""So many numbers at a time are copied together to be attended to."""
_MOST_MARKS = 1 << 24
"""For so many pairs of a new token and one before it at a time it is found which are seen."""


class Asked(NamedTuple):
    """What an indexer makes of the new tokens: `queries` [1, J, N, I], and how much each head counts, float32
    [1, N, J]; or of several sequences, [B, J, M, I] and [B, M, J]."""

    queries: Tensor
    weights: Tensor


class Seen(NamedTuple):
    """For each query the places that it sees, int64 [N, K], the earliest token first, and how many they are: where
    `there` [N, K] is false, there are no more."""

    places: Tensor
    there: Tensor


class Choose(Protocol):
    """One step's choices, used by every layer that makes one."""

    def sees_all(self, chosen: int) -> bool:
        """Does no sequence hold more tokens than are chosen, so that there is no choice?"""
        ...

    def __call__(self, indexer: Indexer, asked: Asked, keys: Tensor) -> Seen:
        """By the index keys of all places [C, I], the new ones included."""
        ...


class RaggedChoice:
    """For prompts: any number of new tokens a sequence."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def sees_all(self, chosen: int) -> bool:
        return max(self._spans.lengths) <= chosen

    def __call__(self, indexer: Indexer, asked: Asked, keys: Tensor) -> Seen:
        rows = list(self._spans.queries)
        queries, weights = torch.split(asked.queries, rows, 2), torch.split(asked.weights, rows, 1)
        parts = zip(self._reaches, map(Asked, queries, weights), strict=True)
        found = [reach.choose(indexer, one, keys) for reach, one in parts]
        width = max(seen.places.shape[1] for seen in found)
        fillings = [(0, width - seen.places.shape[1]) for seen in found]
        return Seen(
            torch.cat([pad(seen.places, filling) for seen, filling in zip(found, fillings, strict=True)]),
            torch.cat([pad(seen.there, filling) for seen, filling in zip(found, fillings, strict=True)]),
        )

    @cached_property
    def _reaches(self) -> list[_Reach]:
        spans = self._spans
        positions = torch.split(spans.positions, list(spans.queries))
        tables = [
            torch.tensor([pages[: pages_for(length)]], dtype=torch.int32, device=spans.device)
            for pages, length in zip(spans.pages, spans.lengths, strict=True)
        ]
        lengths = torch.tensor(spans.lengths, dtype=torch.int32, device=spans.device)[:, None]
        return [_Reach(*one) for one in zip(tables, lengths, (each[None] for each in positions), strict=True)]


class SteadyChoice:
    """For steps of fixed shape, once `steps` has begun: asks the host nothing."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def sees_all(self, chosen: int) -> bool:
        return self._steps.capacity_tokens <= chosen

    def __call__(self, indexer: Indexer, asked: Asked, keys: Tensor) -> Seen:
        _, heads, _, dim = asked.queries.shape
        sequences, rows = self._steps.sequences, self._steps.queries
        queries = asked.queries.view(heads, sequences, rows, dim).transpose(0, 1)
        return self._reach.choose(indexer, Asked(queries, asked.weights.view(sequences, rows, heads)), keys)

    @cached_property
    def _reach(self) -> _Reach:
        return _Reach(self._steps.tables, self._steps.lengths, self._steps.positions())


@dataclass(frozen=True)
class _Reach:
    """How far sequences look back: their pages int32 [B, P], how many tokens they hold, int32 [B], and the positions of
    their new tokens, int64 [B, M]."""

    tables: Tensor
    lengths: Tensor
    positions: Tensor

    @cached_property
    def places(self) -> Tensor:
        """Of all that there is room for, int64 [B, S]."""
        within = torch.arange(PAGE_TOKENS, device=self.tables.device)
        return (self.tables.to(torch.int64)[:, :, None] * PAGE_TOKENS + within).flatten(1)

    def choose(self, indexer: Indexer, asked: Asked, keys: Tensor) -> Seen:
        """`asked` [B, J, M, I] and [B, M, J]; what is seen [B · M, K]."""
        batch, tokens = self.places.shape
        count = min(indexer.config.chosen, tokens)
        rows = max(1, _MOST_MARKS // (batch * tokens))
        numbers = torch.arange(tokens, device=keys.device)
        found = []
        for positions, queries, weights in zip(
            torch.split(self.positions, rows, 1),
            torch.split(asked.queries, rows, 2),
            torch.split(asked.weights, rows, 1),
            strict=True,
        ):
            before = numbers <= positions[:, :, None]  # [B, ·, S]
            marks = [before] if tokens <= count else self._marks(indexer, Asked(queries, weights), keys, before)
            found += [tokens_of(seen, count) for seen in marks]
        chosen, there = (torch.cat(parts, 1) for parts in zip(*found, strict=True))  # [B, M, K] each
        places = self.places.gather(1, chosen.flatten(1))
        return Seen(places.view(-1, count), there.flatten(0, 1))

    def _marks(self, indexer: Indexer, asked: Asked, keys: Tensor, before: Tensor) -> Iterable[Tensor]:
        """True for what is seen of what is `before`, [B, ·, S], some queries after others."""
        if has_kernel(keys):
            scores = score(asked.queries, asked.weights, keys, self.tables, self.lengths)
            return [highest(scores, indexer.config.chosen, among=before)]
        held = keys[self.places][:, None]  # [B, 1, S, I]
        return (seen[:, 0] for seen in indexer.choices(asked.queries, held, asked.weights, before[:, None]))


def tokens_of(seen: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The numbers of up to `count` tokens that are true in each row of bool [..., S], in order: int64 [..., K], and
    bool [..., K], which of these there are."""
    ranks = seen.cumsum(-1, dtype=torch.int32)
    wanted = torch.arange(1, count + 1, dtype=torch.int32, device=seen.device)
    found = torch.searchsorted(ranks, wanted.expand(*ranks.shape[:-1], count).contiguous())
    return found.clamp_max(seen.shape[-1] - 1), wanted <= ranks[..., -1:]


def attend_to(seen: Seen, query: Tensor, held: Held, look: Look) -> Tensor:
    """query [N, H, E] over what each sees of one key and value head, whose values are the first numbers of its keys:
    [N, H, V]."""
    dtype = torch.float32 if query.device.type == "cpu" else query.dtype
    rows = max(1, _MOST_NUMBERS // (seen.places.shape[1] * query.shape[2]))
    attended = []
    for part, places, there in zip(*(torch.split(each, rows) for each in (query, *seen)), strict=True):
        keys = held.keys[places, 0].to(dtype)  # [·, K, E]
        scores = (part.to(dtype) @ keys.transpose(1, 2)).float() * look.scale  # [·, H, K]
        shares = torch.softmax(scores.masked_fill(~there[:, None], float("-inf")), -1)
        attended.append(shares.to(dtype) @ keys[..., : held.values.shape[2]])
    return torch.cat(attended).to(query.dtype)
