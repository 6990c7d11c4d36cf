"""Which rows of a step belong to which sequence, and where their keys and values lie. Computes no attention.

Two forms. `Spans`: any number of new tokens a sequence, known to the host. `Steps`: as many for every sequence, in
buffers whose shapes never change, so that a captured graph can be run again after they are filled anew.

Legend: N new tokens of all sequences, B sequences, Q new tokens of each, P pages of the longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from model.paged.pool import PAGE_TOKENS, SCRATCH_PAGE, pages_for
from model.paged.states import SCRATCH_SLOT


@dataclass(frozen=True, slots=True)
class Remembered:
    """The slot that a sequence's recurrent states lie in, and the slots that they are copied to on the way: `also` has
    them by the number of new tokens, at least one, after which."""

    slot: int
    also: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Spans:
    """`queries[b]` new tokens bring sequence b to `lengths[b]` in all, which lie in `pages[b]`, in order; recurrent
    layers remember it by `states[b]`."""

    queries: tuple[int, ...]
    lengths: tuple[int, ...]
    pages: tuple[tuple[int, ...], ...]
    device: torch.device
    states: tuple[Remembered, ...] = ()

    @property
    def rows(self) -> int:
        return sum(self.queries)

    @property
    def starts(self) -> tuple[int, ...]:
        """Tokens held before."""
        return tuple(length - count for length, count in zip(self.lengths, self.queries, strict=True))

    @property
    def is_fresh(self) -> bool:
        """Does every sequence begin here?"""
        return not any(self.starts)

    @cached_property
    def positions(self) -> Tensor:
        """[N]."""
        ranges = (range(start, length) for start, length in zip(self.starts, self.lengths, strict=True))
        return torch.tensor([place for found in ranges for place in found], device=self.device)

    @cached_property
    def slots(self) -> Tensor:
        """Where in the pool each new token's keys and values go, [N]."""
        return torch.tensor(
            [
                pages[place // PAGE_TOKENS] * PAGE_TOKENS + place % PAGE_TOKENS
                for start, length, pages in zip(self.starts, self.lengths, self.pages, strict=True)
                for place in range(start, length)
            ],
            device=self.device,
        )

    @cached_property
    def held(self) -> tuple[Tensor, ...]:
        """Where all of each sequence's tokens lie, in order: [S] each."""
        within = torch.arange(PAGE_TOKENS, device=self.device)
        tables = [torch.tensor(pages, dtype=torch.int64, device=self.device) for pages in self.pages]
        whole = [(table[:, None] * PAGE_TOKENS + within).flatten() for table in tables]
        return tuple(places[:length] for places, length in zip(whole, self.lengths, strict=True))

    @cached_property
    def last_rows(self) -> Tensor:
        """The row of each sequence's last token, [B]."""
        return torch.tensor(self.queries, device=self.device).cumsum(0) - 1


class Steps:
    """Buffers for B sequences of Q new tokens each, with room for `most_tokens`.

    `tokens` [B, Q], `lengths` int32 [B] after the new tokens, `tables` int32 [B, P]; of recurrent layers `states`
    int64 [B], the slots, and `counts` int64 [B], how many of the tokens may change them. A sequence with fewer than Q
    new tokens is filled up behind them: what follows the last is computed, seen by nobody, and written over later.
    Sequences to spare lie in the scratch page and the scratch slot.
    """

    def __init__(self, sequences: int, queries: int, *, most_tokens: int, device: torch.device) -> None:
        self.sequences, self.queries, self.device = sequences, queries, device
        self.capacity_tokens = pages_for(most_tokens) * PAGE_TOKENS
        pages = self.capacity_tokens // PAGE_TOKENS
        self.tokens = torch.zeros(sequences, queries, dtype=torch.int64, device=device)
        self.lengths = torch.full((sequences,), queries, dtype=torch.int32, device=device)
        self.tables = torch.full((sequences, pages), SCRATCH_PAGE, dtype=torch.int32, device=device)
        self.states = torch.full((sequences,), SCRATCH_SLOT, dtype=torch.int64, device=device)
        self.counts = torch.zeros(sequences, dtype=torch.int64, device=device)
        # Small copies would each cost a call: one pinned buffer, one copy, then views of it.
        self._whole = torch.zeros(sequences, queries + 3 + pages, dtype=torch.int64, device=device)
        pinned = device.type == "cuda"
        self._staged = torch.zeros(self._whole.shape, dtype=torch.int64, pin_memory=pinned)

    def fill(
        self,
        tokens: Sequence[Sequence[int]],
        lengths: Sequence[int],
        pages: Sequence[Sequence[int]],
        states: Sequence[int] = (),
    ) -> None:
        """Up to B sequences: their new tokens (1 … Q), tokens in all, pages, with room for Q new tokens, and slots,
        where there are recurrent layers.

        The host's part of a step; `begin` is the device's.
        """
        staged = self._staged.zero_()
        staged[:, self.queries] = self.queries
        for row, slot in enumerate(states):
            staged[row, self.queries + 1] = slot
            staged[row, self.queries + 2] = len(tokens[row])
        for row, (new, length, table) in enumerate(zip(tokens, lengths, pages, strict=True)):
            filled = length - len(new) + self.queries
            assert filled <= len(table) * PAGE_TOKENS <= self.capacity_tokens
            staged[row, : len(new)] = torch.tensor(new)
            staged[row, self.queries] = filled
            staged[row, self.queries + 3 : self.queries + 3 + len(table)] = torch.tensor(table)
        self._whole.copy_(staged, non_blocking=True)

    def rehearse(self, tokens: int) -> None:
        """Pretend that every sequence holds so many tokens, all in the scratch page: for timing, before any fill."""
        self._whole[:, self.queries] = min(tokens, self.capacity_tokens)

    def begin(self) -> None:
        """Take what was filled in, in the types that kernels read."""
        self.tokens.copy_(self._whole[:, : self.queries])
        self.lengths.copy_(self._whole[:, self.queries])
        self.states.copy_(self._whole[:, self.queries + 1])
        self.counts.copy_(self._whole[:, self.queries + 2])
        self.tables.copy_(self._whole[:, self.queries + 3 :])

    def positions(self) -> Tensor:
        """[B, Q], computed on the device."""
        first = self.lengths.to(torch.int64) - self.queries
        return first[:, None] + torch.arange(self.queries, device=self.device)

    def slots(self) -> Tensor:
        """Where each new token's keys and values go, [B, Q], computed on the device."""
        positions = self.positions()
        pages = self.tables.to(torch.int64).gather(1, positions // PAGE_TOKENS)
        return pages * PAGE_TOKENS + positions % PAGE_TOKENS
