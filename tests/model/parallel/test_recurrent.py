"""Rows that a process gets are those of its heads, and of what serves them, for every number that divides the heads."""

from __future__ import annotations

import pytest
import torch

from model.config import DeltaConfig, RecurrentConfig, StateSpaceConfig
from model.parallel.recurrent import RecurrentPart

HEAD, GROUP = 3, 2
"""Rows of a head's values, and of what a group shares."""


def mixer(kind: str, heads: int, groups: int) -> RecurrentConfig:
    if kind == "delta":
        return DeltaConfig(heads=heads, key_heads=groups, key_dim=GROUP, value_dim=HEAD)
    return StateSpaceConfig(heads=heads, head_dim=HEAD, groups=groups, state=GROUP)


@pytest.mark.parametrize("kind", ["state space", "delta"])
@pytest.mark.parametrize(
    ("heads", "groups", "processes", "held"),
    [
        (8, 8, 4, 2),
        (8, 4, 2, 2),
        (8, 2, 2, 1),
        (8, 2, 4, 1),
        (8, 1, 8, 1),
        (12, 3, 2, 3),  # the one in the midst lies in both
        (12, 4, 3, 4),  # three of one and one of the next, so a run is a head
        (128, 8, 8, 1),  # Codestral Mamba
        (24, 1, 2, 1),  # Mamba-2 130M
        (32, 16, 8, 2),  # Qwen3-Next
    ],
)
def test_rows_are_those_of_the_heads(kind: str, heads: int, groups: int, processes: int, held: int) -> None:
    whole = mixer(kind, heads, groups)
    values = torch.arange(heads).repeat_interleave(HEAD)
    shared = torch.arange(groups).repeat_interleave(GROUP)
    rows = torch.cat((shared, shared, values) if kind == "delta" else (values, shared, shared))
    for rank in range(processes):
        part = RecurrentPart(whole=whole, rank=rank, processes=processes)
        own = part.config
        mine = torch.arange(heads).chunk(processes)[rank]
        cut = part.cut("conv.weight", rows)
        assert len(cut) == own.channels
        both = own.channels - own.inner
        sides, found = (cut[:both], cut[both:]) if kind == "delta" else (cut[own.inner :], cut[: own.inner])
        assert torch.equal(found, mine.repeat_interleave(HEAD))
        for side in sides.chunk(2):  # each of what is shared serves as many consecutive heads
            assert len(side) == held * GROUP
            serving = side[::GROUP].repeat_interleave(len(mine) // held)
            assert torch.equal(serving, mine // (heads // groups))
        assert torch.equal(part.cut("rate_log", torch.arange(heads)), mine)
