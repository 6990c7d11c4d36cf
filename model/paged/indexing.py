"""Layers that choose what is seen, over pages: which tokens each query sees, and attention to those alone.

Of what a sequence holds every index key is scored; of the latents only what was chosen is read. In steps of fixed shape
the room that there is stands for what a sequence holds, and the host is asked nothing.

Legend: N new tokens of all sequences, B sequences, Q new tokens of each, S tokens that one holds, K tokens seen,
C places, D hidden, H heads, J index heads, I index dimensions, E key and V value dimensions.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.layers.indexed import Indexer
from model.paged.attention import Held, Look
from model.paged.pool import PAGE_TOKENS
from model.paged.spans import Spans, Steps

_MOST_NUMBERS = 1 << 27
"""So many numbers at a time are copied together to be attended to."""


class Asked(NamedTuple):
    """What an indexer makes of the new tokens: `queries` [1, J, N, I], and how much each head counts, [1, N, J]."""

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
        spans, chosen = self._spans, indexer.config.chosen
        width = min(chosen, max(spans.lengths))
        rows = list(spans.queries)
        parts = zip(
            torch.split(asked.queries, rows, 2),
            torch.split(asked.weights, rows, 1),
            torch.split(spans.positions, rows),
            spans.held,
            strict=True,
        )
        found = []
        for query, weights, positions, held in parts:
            among = (torch.arange(len(held), device=held.device) <= positions[:, None])[None, None]
            choices = iter([among])
            if len(held) > chosen:
                choices = indexer.choices(query, keys[held][None, None], weights, among)
            for seen in choices:
                tokens, there = tokens_of(seen[0, 0], min(width, len(held)))
                filling = (0, width - tokens.shape[1])
                found.append(Seen(pad(held[tokens], filling), pad(there, filling)))
        return Seen(*(torch.cat(parts) for parts in zip(*found, strict=True)))


class SteadyChoice:
    """For steps of fixed shape, once `steps` has begun: asks the host nothing."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def sees_all(self, chosen: int) -> bool:
        return self._steps.capacity_tokens <= chosen

    def __call__(self, indexer: Indexer, asked: Asked, keys: Tensor) -> Seen:
        steps = self._steps
        _, heads, _, dim = asked.queries.shape
        queries = asked.queries.view(heads, steps.sequences, steps.queries, dim).transpose(0, 1)  # [B, J, Q, I]
        weights = asked.weights.view(steps.sequences, steps.queries, heads)
        choices = indexer.choices(queries, keys[self._places][:, None], weights, self._before)
        parts = [tokens_of(seen[:, 0], indexer.config.chosen) for seen in choices]
        tokens, there = (torch.cat(part, 1) for part in zip(*parts, strict=True))  # [B, Q, K] each
        places = self._places.gather(1, tokens.flatten(1))
        return Seen(places.view(-1, indexer.config.chosen), there.flatten(0, 1))

    @cached_property
    def _places(self) -> Tensor:
        """All that sequences may have, int64 [B, S]."""
        within = torch.arange(PAGE_TOKENS, device=self._steps.device)
        return (self._steps.tables.to(torch.int64)[:, :, None] * PAGE_TOKENS + within).flatten(1)

    @cached_property
    def _before(self) -> Tensor:
        """Which of them a query may see, [B, 1, Q, S]."""
        tokens = torch.arange(self._steps.capacity_tokens, device=self._steps.device)
        return (tokens <= self._steps.positions()[:, :, None])[:, None]


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
