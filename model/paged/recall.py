"""How recurrent layers come to their states in a step of several sequences: read from slots, and written back.

In a step of prompts each sequence is computed by itself between two projections of all; in one of fixed shape all are
computed together, and the device alone knows whose slot is where.

Legend: N new tokens of all sequences, D hidden, B sequences, Q new tokens of each, S slots, K tokens under the
convolution, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.layers.recurrent import Recurrence, Recurrent
from model.paged.spans import Spans, Steps
from model.paged.states import StatePool
from model.paged.walk import has_kernel, walk


class Recall(Protocol):
    """One step's way to the states, used by every recurrent layer in turn."""

    def __call__(self, module: Recurrent, x: Tensor, layer: int) -> Tensor:
        """x [N, D] to [N, D]; `layer` counts recurrent ones."""
        ...


@dataclass(frozen=True, slots=True)
class RaggedRecall:
    """For prompts: any number of new tokens a sequence."""

    spans: Spans
    pool: StatePool

    def __call__(self, module: Recurrent, x: Tensor, layer: int) -> Tensor:
        windows, states = self.pool.windows[layer], self.pool.states[layer]
        parts = module.project(x[None])
        mixed, first = [], 0
        for count, held in zip(self.spans.queries, self.spans.states, strict=True):
            mine = tuple(part[:, first : first + count] for part in parts)
            mixed.append(module.mix(mine, _Slot(windows, states, held.slot, count, held.also)))
            first += count
        return module.finish(torch.cat(mixed, 1), parts)[0]


@dataclass(frozen=True, slots=True)
class _Slot:
    """One sequence's `Memory`: `slot` of `windows` [S, K − 1, C] and `states` [S, …], written after `count` tokens; the
    slots of `also` after as many as it says."""

    windows: Tensor
    states: Tensor
    slot: int
    count: int
    also: Mapping[int, int]

    @property
    def marks(self) -> tuple[int, ...]:
        return tuple(sorted({*self.also, self.count}))

    @property
    def live(self) -> None:
        """All tokens count."""

    def window(self) -> Tensor:
        return self.windows[self.slot][None]

    def state(self) -> Tensor:
        return self.states[self.slot][None]

    def walk(self, rows: Recurrence, joined: Tensor) -> None:
        """Prompts go by blocks."""

    def keep(self, tokens: int, joined: Tensor, state: Tensor) -> None:
        window = joined[0, tokens : tokens + self.windows.shape[1]]
        if tokens in self.also:
            self._write(self.also[tokens], window, state)
        if tokens == self.count:
            self._write(self.slot, window, state)

    def _write(self, slot: int, window: Tensor, state: Tensor) -> None:
        self.windows[slot], self.states[slot] = window, state[0]


class SteadyRecall:
    """For steps of fixed shape, [B, Q], once `steps` has begun: asks the host nothing."""

    def __init__(self, steps: Steps, pool: StatePool) -> None:
        self._steps, self._pool = steps, pool
        self._live = torch.arange(steps.queries, device=steps.device) < steps.counts[:, None]  # [B, Q]

    def __call__(self, module: Recurrent, x: Tensor, layer: int) -> Tensor:
        steps = self._steps
        parts = module.project(x.view(steps.sequences, steps.queries, -1))
        memory = _Slots(self._pool.windows[layer], self._pool.states[layer], steps, self._live)
        return module.finish(module.mix(parts, memory), parts).flatten(0, 1)


@dataclass(frozen=True, slots=True)
class _Slots:
    """All sequences' `Memory`, each behind the last of its tokens that counts."""

    windows: Tensor
    states: Tensor
    steps: Steps
    _live: Tensor

    @property
    def live(self) -> Tensor | None:
        return None if has_kernel(self.states) else self._live  # the kernel counts by itself

    @property
    def marks(self) -> tuple[int, ...]:
        return (self.steps.queries,)

    def window(self) -> Tensor:
        return self.windows[self.steps.states]

    def state(self) -> Tensor:
        return self.states[self.steps.states]

    def walk(self, rows: Recurrence, joined: Tensor) -> Tensor | None:
        if not has_kernel(self.states):
            return None
        self._slide(joined)
        return walk(rows, self.states, self.steps.states, self.steps.counts)

    def keep(self, tokens: int, joined: Tensor, state: Tensor) -> None:
        assert tokens == self.steps.queries
        self._slide(joined)
        self.states.index_copy_(0, self.steps.states, state)

    def _slide(self, joined: Tensor) -> None:
        """Each convolution's window to behind its sequence's last token."""
        behind = torch.arange(self.windows.shape[1], device=joined.device)
        places = (self.steps.counts[:, None] + behind)[..., None].expand(-1, -1, joined.shape[2])  # [B, K − 1, C]
        self.windows.index_copy_(0, self.steps.states, joined.gather(1, places).to(self.windows.dtype))
