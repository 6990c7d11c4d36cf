"""Experts that do not fit the device: all in host memory, the hot ones in slots on the device, the next ones fetched
while the present ones compute.

Which experts come next is guessed by asking the next layer's router about this layer's input, which changes little
from layer to layer (Eliseev and Mazur 2023). A wrong guess costs time, never a result. The host must look at each
choice, so steps with such layers are not captured as graphs.

Legend: N tokens, D hidden, X experts, K chosen for each token, S slots, P pairs of token and expert.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from model.experts.compute import compute_experts
from model.experts.weights import ExpertWeights, Stack
from model.layers.mixture import Mixture


class Mover(Protocol):
    """Copies experts to the device beside what computes there."""

    def start(
        self, source: ExpertWeights, target: ExpertWeights, places: Sequence[tuple[int, int]], *, behind: bool
    ) -> None:
        """Begin to copy experts into slots, (expert, slot) each; `behind`: after all that was asked to compute so far,
        since it reads those slots."""
        ...

    def wait(self) -> None:
        """What is asked to compute from now on comes behind all copies that were begun."""
        ...


class PlainMover:
    """Copies at once."""

    def start(
        self, source: ExpertWeights, target: ExpertWeights, places: Sequence[tuple[int, int]], *, behind: bool
    ) -> None:
        for expert, slot in places:
            copy_expert(source, target, expert, slot)

    def wait(self) -> None:
        """Nothing is under way."""


class CudaMover:
    """Copies out of pinned memory on a stream of its own. Not yet measured."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start(
        self, source: ExpertWeights, target: ExpertWeights, places: Sequence[tuple[int, int]], *, behind: bool
    ) -> None:
        if behind:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for expert, slot in places:
                copy_expert(source, target, expert, slot)

    def wait(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._stream)


def copy_expert(source: ExpertWeights, target: ExpertWeights, expert: int, slot: int) -> None:
    """All of one expert's numbers into a slot."""
    for part in ("gate", "up", "down"):
        mine, theirs = getattr(target, part), getattr(source, part)
        for name in ("weight", "scale", "bias"):
            if getattr(theirs, name) is not None:
                getattr(mine, name)[slot].copy_(getattr(theirs, name)[expert], non_blocking=True)


class HotExperts:
    """One layer's experts: `host` has all, the device `slots` of them, those used last. At least as many slots as a
    token chooses. `hits` and `misses` count experts that were and were not there when they were wanted."""

    def __init__(self, host: ExpertWeights, *, slots: int, device: torch.device, mover: Mover) -> None:
        self._host = host
        self._mover = mover
        self._slots = slots
        self._hot = ExpertWeights(
            gate=_room(host.gate, slots, device),
            up=_room(host.up, slots, device),
            down=_room(host.down, slots, device),
            config=host.config,
        )
        self._slot_of: OrderedDict[int, int] = OrderedDict()
        self._free = list(range(slots))
        self.hits = self.misses = 0

    @property
    def here(self) -> set[int]:
        """Experts that are on the device, or on their way."""
        return set(self._slot_of)

    def fetch(self, experts: Sequence[int], *, behind: bool = False) -> None:
        """Begin to bring these, as many as there are slots for, in place of those that were used longest ago.

        Not `behind`: the host knows that nothing which computes still reads this layer's slots.
        """
        wanted = list(dict.fromkeys(experts))[: self._slots]
        for expert in wanted:
            if expert in self._slot_of:
                self._slot_of.move_to_end(expert)
        missing = [expert for expert in wanted if expert not in self._slot_of]
        places = []
        for expert in missing:
            slot = self._free.pop() if self._free else self._slot_of.popitem(last=False)[1]
            self._slot_of[expert] = slot
            places.append((expert, slot))
        if places:
            self._mover.start(self._host, self._hot, places, behind=behind)

    def compute(self, x: Tensor, shares: Tensor, chosen: Tensor, experts: Sequence[int]) -> Tensor:
        """As `compute_experts`; `experts` are the numbers in `chosen`, known to the host, each once."""
        self.hits += len(self.here.intersection(experts))
        self.misses += len(set(experts) - self.here)
        if len(experts) <= self._slots:
            self.fetch(experts)
            return compute_experts(self._hot, x, shares, self._table(chosen.device)[chosen])
        # More than fit: those that are here first, then the others, a slotful at a time.
        ordered = sorted(experts, key=lambda expert: expert not in self._slot_of)
        total = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        for first in range(0, len(ordered), self._slots):
            wave = ordered[first : first + self._slots]
            self.fetch(wave, behind=first > 0)
            mine = torch.isin(chosen, torch.tensor(wave, device=chosen.device))
            tokens, rank = mine.nonzero(as_tuple=True)  # [P] each
            slots = self._table(chosen.device)[chosen[tokens, rank]][:, None]
            answered = compute_experts(self._hot, x[tokens], shares[tokens, rank][:, None], slots)
            total.index_add_(0, tokens, answered.float())
        return total.to(x.dtype)

    def _table(self, device: torch.device) -> Tensor:
        """Each expert's slot, [X]; the copies that are under way are waited for, on the device."""
        self._mover.wait()
        table = torch.zeros(self._host.experts, dtype=torch.int64)
        for expert, slot in self._slot_of.items():
            table[expert] = slot
        return table.to(device)


class OffloadedMixture(nn.Module):
    """A `Mixture` whose experts are `HotExperts`. `following` is the next such layer, asked what to fetch for it."""

    asks_host = True

    def __init__(self, mixture: Mixture, hot: HotExperts) -> None:
        super().__init__()
        self.router = mixture.router
        self.shared, self.shared_gate = mixture.shared, mixture.shared_gate
        self.hot = hot
        self._following: list[OffloadedMixture] = []

    def precede(self, following: OffloadedMixture) -> None:
        """Fetch for that layer while this one computes."""
        self._following = [following]  # in a list, so that it does not become a part of this module

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        rows = x.reshape(-1, x.shape[-1])
        shares, chosen = self.router(rows)
        asked = [chosen] + [layer.router(rows)[1] for layer in self._following]
        found = torch.stack([part.flatten() for part in asked]).tolist()  # the one look that the host takes
        experts = list(dict.fromkeys(found[0]))
        total = self.hot.compute(rows, shares, chosen, experts)
        for layer, guess in zip(self._following, found[1:], strict=True):
            layer.hot.fetch(list(dict.fromkeys(guess)))
        if self.shared is not None:
            served = self.shared(rows)
            total = total + (served if self.shared_gate is None else served * self.shared_gate(rows).sigmoid())
        return total.view_as(x)


def _room(stack: Stack, slots: int, device: torch.device) -> Stack:
    """Slots for a stack's experts, on the device."""

    def empty(like: Tensor) -> Tensor:
        return torch.zeros(slots, *like.shape[1:], dtype=like.dtype, device=device)

    return replace(
        stack,
        weight=empty(stack.weight),
        scale=None if stack.scale is None else empty(stack.scale),
        bias=None if stack.bias is None else empty(stack.bias),
    )


def offload(layers: Sequence[nn.Module], *, slots: int, device: torch.device, mover: Mover) -> list[OffloadedMixture]:
    """Put `OffloadedMixture`s in the place of the mixtures of a decoder's layers, in order; their experts stay where
    they are, the rest must be on `device`."""
    made: list[OffloadedMixture] = []
    for layer in layers:
        mixture = getattr(layer, "mlp", None)
        if not isinstance(mixture, Mixture):
            continue
        host = mixture.stacks()
        assert host is not None
        router = mixture.config.router
        assert router is not None
        assert router.chosen <= slots
        kept = min(slots, router.experts)
        made.append(OffloadedMixture(mixture, HotExperts(host, slots=kept, device=device, mover=mover)))
        layer.mlp = made[-1]
    for layer, following in pairwise(made):
        layer.precede(following)
    return made
