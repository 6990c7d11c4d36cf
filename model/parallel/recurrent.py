"""One process's heads of a recurrent layer: which rows of its weights they need, and a norm over heads of several.

Heads are cut as in attention. What a group of heads shares (of Mamba-2 what is written and read by, of the delta rule
queries and keys) is had by each process that has heads of the group, so any number that divides the heads will do.

Legend: B batch, T tokens, R runs of heads in a process, C channels of a process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from model.config import RecurrentConfig, StateSpaceConfig
from model.layers.delta import Delta
from model.layers.state_space import GatedGroupNorm, StateSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentPart:
    """Heads `rank` · H / `processes` on of the H that `whole` has."""

    whole: RecurrentConfig
    rank: int
    processes: int

    @property
    def config(self) -> RecurrentConfig:
        """The mixer as this process computes it."""
        heads, groups = self.whole.heads // self.processes, len(self._serving(self._groups))
        if isinstance(self.whole, StateSpaceConfig):
            return replace(self.whole, heads=heads, groups=groups)
        return replace(self.whole, heads=heads, key_heads=groups)

    def cut(self, name: str, weight: Tensor) -> Tensor:
        """The rows that this process needs of one of the mixer's weights or biases, a copy; `out_proj`, whose columns
        are cut, is not for this."""
        cuts, first = [], 0
        for units, size in self._blocks(name):
            block = weight[first : first + units * size]
            cuts += [block[unit * size : (unit + 1) * size] for unit in self._serving(units)]
            first += units * size
        assert first in (0, len(weight)), name
        return torch.cat(cuts) if cuts else weight

    def join(self, mixer: StateSpace | Delta, group: dist.ProcessGroup | None) -> None:
        """Have a mixer that was filled with these rows compute with them, but for the sum over what all give."""
        mixer.config = self.config
        if isinstance(mixer, Delta):  # which norms each head by itself
            return
        runs, groups = self._serving(self._groups), self._groups
        if self._run_of(groups) == self.whole.heads // groups:  # all heads of each
            mixer.norm.groups = len(runs)
            return
        channels = self.whole.inner // groups
        mixer.norm = NormAcross(  # type: ignore[assignment]
            mixer.norm, runs, groups=groups, channels=channels, processes=group
        )

    @property
    def _groups(self) -> int:
        return self.whole.groups if isinstance(self.whole, StateSpaceConfig) else self.whole.key_heads

    def _blocks(self, name: str) -> list[tuple[int, int]]:
        """Rows of a weight: how many heads or groups, and how many rows for each; none where all share all."""
        heads, groups, owner = self.whole.heads, self._groups, name.partition(".")[0]
        if owner in ("beta_proj", "step_proj", "step_bias", "rate_log", "skip"):
            return [(heads, 1)]
        if isinstance(self.whole, StateSpaceConfig):
            values, shared = (heads, self.whole.head_dim), (groups, self.whole.state)
            convolved = [values, shared, shared]
            known = {"in_proj": [values, *convolved, (heads, 1)], "conv": convolved, "norm": [values]}
        else:
            values, shared = (heads, self.whole.value_dim), (groups, self.whole.key_dim)
            convolved = [shared, shared, values]
            known = {"qkv_proj": convolved, "conv": convolved, "z_proj": [values], "norm": []}
        return known[owner]

    def _serving(self, units: int) -> list[int]:
        """Which of so many heads or groups serve our heads: one for each run of equally many of these, the same for
        several where groups begin and end in the midst of what processes have."""
        run, own = self._run_of(units), self.whole.heads // self.processes
        first, served = self.rank * own, self.whole.heads // units
        return [head // served for head in range(first, first + own, run)]

    def _run_of(self, units: int) -> int:
        return gcd(self.whole.heads // units, self.whole.heads // self.processes)


class NormAcross(nn.Module):
    """`GatedGroupNorm` for groups that lie in several processes: their sums of squares are added up over all."""

    def __init__(
        self,
        norm: GatedGroupNorm,
        runs: Sequence[int],
        *,
        groups: int,
        channels: int,
        processes: dist.ProcessGroup | None,
    ) -> None:
        """`runs` has the group of each run, out of `groups` with so many `channels` each in all `processes`."""
        super().__init__()
        self.weight = norm.weight
        self.epsilon = norm.epsilon
        self.runs = nn.Buffer(torch.tensor(runs, device=norm.weight.device), persistent=False)
        self._groups, self._channels = groups, channels
        self._processes = processes

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """[B, T, C] each to float32 [B, T, C]."""
        gated = torch.unflatten(x * functional.silu(gate.float()), -1, (len(self.runs), -1))  # [B, T, R, C / R]
        squares = gated.square().sum(-1)  # [B, T, R]
        sums = squares.new_zeros(*squares.shape[:-1], self._groups).index_add(-1, self.runs, squares)
        dist.all_reduce(sums, group=self._processes)
        normed = gated * torch.rsqrt(sums[..., self.runs, None] / self._channels + self.epsilon)
        weighted: Tensor = normed.flatten(-2) * self.weight.float()
        return weighted
