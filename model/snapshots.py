"""Recurrent states of one sequence at several of its lengths, so that a prompt that differs at its end starts from one.

Legend: K tokens under the convolution, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

_MOST = 6
"""States are large (a quarter of a gigabyte for a model of 7 billion weights), so only so many last."""

State = tuple[Tensor, Tensor]
"""Of one layer: the convolution's last inputs [1, K − 1, C], and the state [1, …] float32. Never changed in place."""
States = tuple[State, ...]
"""Of all recurrent layers."""


@dataclass(frozen=True, slots=True)
class StateShape:
    """One layer's: `window` [K − 1, C] and `state`, both counted as float32."""

    window: tuple[int, ...]
    state: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return 4 * (prod(self.window) + prod(self.state))


class Snapshots:
    """States by the number of tokens before them. `lasting` ones are thinned out beyond six, and the newest of the
    others is there beside them."""

    def __init__(self) -> None:
        self._lasting: dict[int, States] = {}
        self._latest: tuple[int, States] | None = None

    def __len__(self) -> int:
        return len(self._lasting) + (self._latest is not None)

    def at(self, tokens: int) -> States | None:
        if self._latest is not None and self._latest[0] == tokens:
            return self._latest[1]
        return self._lasting.get(tokens)

    def reach(self, tokens: int) -> int:
        """The greatest number of tokens, at most `tokens`, at which there are states. No tokens need none."""
        there = [*self._lasting, *(() if self._latest is None else (self._latest[0],))]
        return max((place for place in there if place <= tokens), default=0)

    def keep(self, tokens: int, states: States, *, lasting: bool) -> None:
        if not lasting:
            self._latest = tokens, states
            return
        self._lasting[tokens] = states
        if len(self._lasting) > _MOST:
            del self._lasting[self._least()]

    def cut(self, tokens: int) -> None:
        """Forget what is behind the first `tokens`."""
        self._lasting = {place: states for place, states in self._lasting.items() if place <= tokens}
        if self._latest is not None and self._latest[0] > tokens:
            self._latest = None

    def copy(self) -> Snapshots:
        """Another collection of the same states."""
        made = Snapshots()
        made._lasting, made._latest = dict(self._lasting), self._latest
        return made

    def _least(self) -> int:
        """The one that is missed least: whose neighbours are close together for their distance from the end."""
        places = [0, *sorted(self._lasting)]
        end = places[-1]

        def gap(index: int) -> float:
            return (places[index + 1] - places[index - 1]) / (end - places[index - 1])

        return places[min(range(1, len(places) - 1), key=gap)]
