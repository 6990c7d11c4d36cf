"""Logits to tokens on the device, for many rows at once. Knows no text.

Chance is a hash of seed, position and token (Gumbel noise from counters, as in Salmon et al. 2011): a sequence draws
the same tokens whatever is computed beside it, on whichever device, and in a captured graph as outside.

Legend: B sequences, N rows, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor

from model.api import SamplingParams


class Kind(Enum):
    """How much a step's sampling takes: the likeliest token; a draw from all; a draw from the likeliest ones."""

    GREEDY = 0
    DRAW = 1
    CUT = 2


def kind_of(params: SamplingParams) -> Kind:
    if params.temperature == 0:
        return Kind.GREEDY
    return Kind.DRAW if params.top_k == 0 and params.top_p == 1.0 else Kind.CUT


class Sampling:
    """Buffers of how each of B sequences is sampled: `temperature`, `top_p` float32, `top_k`, `seed` int64, [B]."""

    def __init__(self, sequences: int, *, device: torch.device) -> None:
        self.temperature = torch.zeros(sequences, device=device)
        self.top_p = torch.ones(sequences, device=device)
        self.top_k = torch.zeros(sequences, dtype=torch.int64, device=device)
        self.seed = torch.zeros(sequences, dtype=torch.int64, device=device)

    def fill(self, params: Sequence[SamplingParams], seeds: Sequence[int]) -> None:
        """Up to B sequences; those to spare are greedy."""
        spare = len(self.seed) - len(params)
        given = torch.tensor([[row.temperature, row.top_p] for row in params] + [[0.0, 1.0]] * spare)
        whole = torch.tensor([[row.top_k, seed] for row, seed in zip(params, seeds, strict=True)] + [[0, 0]] * spare)
        self.temperature.copy_(given[:, 0])
        self.top_p.copy_(given[:, 1])
        self.top_k.copy_(whole[:, 0])
        self.seed.copy_(whole[:, 1])


def seed_of(params: SamplingParams) -> int:
    """A signed 64-bit seed: the request's, or any."""
    seed = random.getrandbits(63) if params.seed is None else params.seed
    return seed - 2**64 if seed >= 2**63 else seed


def sample(logits: Tensor, sampling: Sampling, positions: Tensor, kind: Kind) -> Tensor:
    """Tokens [N] for float32 logits [N, V] of tokens at `positions` [N], as many rows for each of B sequences.

    As `model.sampler` does: temperature, then the top k, then of those the top p. Greedy takes the first of equals.
    """
    likeliest = logits.argmax(-1)
    if kind is Kind.GREEDY:
        return likeliest
    each = len(logits) // len(sampling.seed)
    temperature, top_p, top_k, seed = (
        part.repeat_interleave(each, output_size=len(logits))[:, None]
        for part in (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed)
    )
    scaled = logits / temperature.clamp_min(1e-6)
    tokens = torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
    if kind is Kind.CUT:
        scaled, tokens = torch.sort(scaled, dim=-1, descending=True, stable=True)
        scaled = _cut(scaled, top_k, top_p)
    drawn = (scaled + _gumbel(seed, positions[:, None], tokens)).argmax(-1, keepdim=True)
    return torch.where(temperature == 0, likeliest[:, None], tokens.gather(1, drawn))[:, 0]


def _cut(scaled: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Scores in falling order [N, V]; those beyond the top k [N, 1], and of the rest beyond the top p, become −∞."""
    rank = torch.arange(scaled.shape[1], device=scaled.device)
    scaled = scaled.masked_fill((top_k > 0) & (rank >= top_k), float("-inf"))
    likely = torch.softmax(scaled, -1)
    before = likely.cumsum(-1) - likely  # the first stays, whatever p is
    return scaled.masked_fill(before >= top_p, float("-inf"))


def _gumbel(seed: Tensor, position: Tensor, token: Tensor) -> Tensor:
    """Noise by counters that broadcast to [N, V], float32; its greatest sum with log-weights is a draw by weight."""
    mixed = _mix(_mix(_mix(seed) ^ position) ^ token)
    uniform = (((mixed >> 40) & 0xFFFFFF).to(torch.float32) + 0.5) * 2.0**-24
    return -torch.log(-torch.log(uniform))


def _mix(number: Tensor) -> Tensor:
    """One round of SplitMix64 (Steele, Lea and Flood 2014) over int64 that wrap around."""
    number = number + _signed(0x9E3779B97F4A7C15)
    number = (number ^ _shifted(number, 30)) * _signed(0xBF58476D1CE4E5B9)
    number = (number ^ _shifted(number, 27)) * _signed(0x94D049BB133111EB)
    return number ^ _shifted(number, 31)


def _shifted(number: Tensor, bits: int) -> Tensor:
    """To the right, filled with zeros."""
    return (number >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
