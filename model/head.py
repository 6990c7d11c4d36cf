"""From a hidden state to logits. No sampling.

Legend: V vocabulary, D hidden.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from model.linear import Linear, PlainLinear

CANDIDATES = 512
"""Tokens whose logits are computed again in full precision after a coarse look at all."""


class Head(Protocol):
    """Logits float32 [V] of one hidden state [1, D]."""

    def __call__(self, hidden: Tensor) -> Tensor: ...


class ExactHead:
    """All logits from weights [V, D] as they are."""

    def __init__(self, weight: Tensor) -> None:
        self._linear = PlainLinear(weight)

    @torch.inference_mode()
    def __call__(self, hidden: Tensor) -> Tensor:
        return self._linear(hidden)[0].float()


class ScreenedHead:
    """All logits from packed weights, then the likeliest again from `weight` [V, D].

    The packed kernel reads a fraction of the bytes but answers in bfloat16, where near rivals tie; what matters is
    decided among the few that are computed exactly.
    """

    def __init__(self, packed: Linear, weight: Tensor) -> None:
        self._packed = packed
        self._weight = weight

    @torch.inference_mode()
    def __call__(self, hidden: Tensor) -> Tensor:
        logits = self._packed(hidden)[0].float()
        likely = torch.topk(logits, min(CANDIDATES, len(logits)), sorted=False).indices
        # `index_select` is eight times as fast as indexing here.
        logits[likely] = torch.mv(self._weight.index_select(0, likely).float(), hidden[0])
        return logits
