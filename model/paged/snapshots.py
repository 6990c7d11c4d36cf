"""Recurrent states to come back to: which slots hold those behind which beginnings. Least recently used goes first.

A state cannot be taken back token by token, so a sequence that begins like an earlier one starts from the nearest
length at which that one's states were kept. The counterpart of the tree's pages; knows no tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from model.paged.states import StatePool

TAIL_TOKENS = (8, 1)
"""So far before the end of a prompt states are kept: the next prompt, a key later, ends otherwise by a few tokens, or
says the same."""


class Holder(Protocol):
    """What states belong to: a page of the tree, or a sequence whose pages are not in it yet."""

    states: dict[int, int]
    """Slots, by the number of its tokens behind which they are."""


class Snapshots:
    """`len` is the number of slots that states are kept in."""

    def __init__(self, pool: StatePool) -> None:
        self._pool = pool
        self._holders: OrderedDict[int, tuple[Holder, int]] = OrderedDict()
        """Whose each slot is, and behind how many tokens; the one that was used longest ago first."""

    def __len__(self) -> int:
        return len(self._holders)

    @property
    def has_slot(self) -> bool:
        """Is there one to be had, if need be from a snapshot?"""
        return bool(self._pool.free_slots or self._holders)

    def take(self) -> int:
        """A slot: a free one, else that of the snapshot that was used longest ago. There must be one."""
        if self._pool.free_slots:
            return self._pool.take()
        slot, (holder, tokens) = self._holders.popitem(last=False)
        del holder.states[tokens]
        return slot

    def put(self, holder: Holder, tokens: int, slot: int) -> None:
        """Keep the states in a slot, as those behind so many tokens; where there are such already, they are as good."""
        if tokens in holder.states:
            self._pool.give(slot)
            self._holders.move_to_end(holder.states[tokens])
            return
        holder.states[tokens] = slot
        self._holders[slot] = holder, tokens

    def touch(self, slot: int) -> None:
        """Somebody goes on from it."""
        self._holders.move_to_end(slot)

    def move(self, source: Holder, target: Holder, *, past: int = 0, until: int) -> None:
        """Hand over what is behind more than `past` and up to `until` tokens; `target` counts from `past` on."""
        for tokens in [tokens for tokens in source.states if past < tokens <= until]:
            slot = source.states.pop(tokens)
            if tokens - past in target.states:
                del self._holders[slot]
                self._pool.give(slot)
            else:
                target.states[tokens - past] = slot
                self._holders[slot] = target, tokens - past

    def drop(self, holder: Holder) -> None:
        """Forget all that belongs to somebody who goes."""
        for slot in holder.states.values():
            del self._holders[slot]
            self._pool.give(slot)
        holder.states.clear()


def marks(start: int, stop: int, *, end: int) -> list[int]:
    """After how many tokens of a prompt of `end` to keep states, while those from `start` to `stop` are computed.

    Near the end, and once in each doubling of the distance from there: six in a prompt of 16,000.
    """
    if stop == end:
        return [end - tail for tail in TAIL_TOKENS if end - tail > start]
    left, before = end - stop, end - start
    return [stop] if before.bit_length() > left.bit_length() else []
