"""From hidden states to logits. No sampling.

Legend: M tokens, V vocabulary, D hidden.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from model.linear import Linear, PlainLinear

CANDIDATES = 512
"""Tokens whose logits are computed again in full precision after a coarse look at all."""
FEW_CANDIDATES = 128
"""Enough for the likeliest token and its log-probability; see the error bound in the tests."""


class Head(Protocol):
    """Logits float32 [M, V] of hidden states [M, D]. The `candidates` likeliest of each are exact.

    With `allowed` [V], true for those that may be chosen, they are the likeliest of these.
    """

    def __call__(self, hidden: Tensor, *, candidates: int = CANDIDATES, allowed: Tensor | None = None) -> Tensor: ...


class ExactHead:
    """All logits from weights [V, D] as they are."""

    def __init__(self, weight: Tensor) -> None:
        self._linear = PlainLinear(weight)

    @torch.inference_mode()
    def __call__(self, hidden: Tensor, *, candidates: int = CANDIDATES, allowed: Tensor | None = None) -> Tensor:
        return self._linear(hidden).float()


class ScreenedHead:
    """All logits from packed weights, then the likeliest again from `weight` [V, D].

    The packed kernel reads a fraction of the bytes but answers in bfloat16, where near rivals tie; what matters is
    decided among the few that are computed exactly.
    """

    def __init__(self, packed: Linear, weight: Tensor) -> None:
        self._packed = packed
        self.weight = weight

    @torch.inference_mode()
    def __call__(self, hidden: Tensor, *, candidates: int = CANDIDATES, allowed: Tensor | None = None) -> Tensor:
        logits = self._packed(hidden).float()
        candidates = min(candidates, logits.shape[1])
        for row, state in zip(logits, hidden, strict=True):
            within = row if allowed is None else row.masked_fill(~allowed, -torch.inf)
            likely = torch.topk(within, candidates, sorted=False).indices
            # `index_select` is eight times as fast as indexing here.
            row[likely] = torch.mv(self.weight.index_select(0, likely).float(), state)
        return logits
