"""Latent attention of which each query sees only the tokens that an indexer chooses (DeepSeek-V3.2, arXiv 2512.02556).

Layers may use the choice of one before them (arXiv 2603.12201), and may attend to the latents that one before them
remembers. Knows no cache but what `IndexedPast` says.

Legend: B batch, T new tokens, S tokens in all, D hidden, H heads, J index heads, I index dimensions, C latent rank,
R rotary dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import torch
from torch import Tensor, nn

from model.config import AttentionConfig, IndexConfig, LearnedGrowth, NormConfig
from model.layers.attention import Past
from model.layers.latent import LatentAttention
from model.layers.norm import make_norm
from model.layers.rope import rotate

_MOST_SCORES = 1 << 24
"""So many numbers at a time, over all heads, queries are scored by."""


class IndexedPast(Past, Protocol):
    """What a layer remembers: latents where it makes them, index keys where it chooses."""

    def extend_index(self, keys: Tensor) -> Tensor:
        """Take the index keys of the new tokens, [B, 1, T, I], and return all there are, [B, 1, S, I]."""
        ...


@dataclass(slots=True)
class Handed:
    """What the layers of one pass leave to those behind them."""

    seen: Tensor | None = None
    """What the last layer that chose lets queries see: bool [B or 1, 1, T, S]; None: all before them."""
    latents: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By number, those that several layers attend to: [B, 1, S, C] and [B, 1, S, R]."""


class Growth(nn.Module):
    """What each head's queries are multiplied by (`LearnedGrowth`)."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(heads))
        self.base = nn.Parameter(torch.ones(heads))

    def forward(self, logarithms: Tensor) -> Tensor:
        """ln(1 + position), [B, 1, T, 1], to [B, H, T, 1]."""
        return self.slope[:, None, None] * logarithms + self.base[:, None, None]


class Indexer(nn.Module):
    """Chooses what queries see. No gradient passes a choice."""

    def __init__(self, hidden: int, config: IndexConfig) -> None:
        super().__init__()
        self.config = config
        self.q_norm = make_norm(hidden, config.norm)
        self.q_proj = nn.Linear(hidden, config.heads * config.dim, bias=False)
        self.growth = Growth(config.heads)
        self.k_proj = nn.Linear(hidden, config.dim, bias=False)
        self.k_norm = make_norm(config.dim, config.norm)
        self.head_weights = nn.Linear(hidden, config.heads, bias=False)

    @torch.no_grad()
    def forward(
        self,
        x: Tensor,
        *,
        cosines: Tensor,
        sines: Tensor,
        logarithms: Tensor,
        mask: Tensor | None,
        past: IndexedPast | None,
    ) -> Tensor | None:
        """What each token of x [B, T, D] sees, [B or 1, 1, T, S]; the rest as `Attention.forward` has it."""
        keys = self.keys(x, cosines, sines)
        if past is not None:
            keys = past.extend_index(keys)
        if keys.shape[2] <= self.config.chosen:
            return mask
        query = self.queries(x, cosines, sines, logarithms)
        if mask is None:
            mask = torch.ones((1, 1, x.shape[1], x.shape[1]), dtype=torch.bool, device=x.device).tril()
        return torch.cat(list(self.choices(query, keys, self.weigh(x), mask)), 2)

    def keys(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """What is kept of each token, [B, 1, T, I]."""
        return rotate(self.k_norm(self.k_proj(x))[:, None], cosines, sines)

    def queries(self, x: Tensor, cosines: Tensor, sines: Tensor, logarithms: Tensor) -> Tensor:
        """[B, J, T, I]."""
        query = self.q_proj(self.q_norm(x)).unflatten(-1, (self.config.heads, self.config.dim)).transpose(1, 2)
        return rotate(query * self.growth(logarithms), cosines, sines)

    def weigh(self, x: Tensor) -> Tensor:
        """How much each head counts for each token, float32 [B, T, J]: a rounding here chooses other tokens."""
        return nn.functional.linear(x.float(), self.head_weights.weight.float())

    def choices(self, query: Tensor, keys: Tensor, weights: Tensor, among: Tensor) -> Iterator[Tensor]:
        """What queries [B, J, T, I] see of keys [B, 1, S, I] where `among` [B or 1, 1, T, S] is true, with `weights`
        [B, T, J]: bool [B, 1, ·, S], some queries after others. Of a score, a factor that all share is left out."""
        turned = keys.float().transpose(2, 3)
        rows = max(1, _MOST_SCORES // (query.shape[0] * query.shape[1] * keys.shape[2]))
        parts = zip(
            torch.split(query, rows, 2), torch.split(weights, rows, 1), torch.split(among, rows, 2), strict=True
        )
        for part, share, seen in parts:
            scores = torch.einsum("bjts,btj->bts", torch.relu(part.float() @ turned), share)
            yield highest(scores[:, None], self.config.chosen, among=seen)


def highest(scores: Tensor, count: int, *, among: Tensor) -> Tensor:
    """True for the `count` highest scores [..., S] of those where `among` [..., S] is true, or for all of these where
    they are fewer. Of equal ones the earliest: a choice does not depend on how a text was cut into steps."""
    scores = scores.masked_fill(~among, -inf)
    least = torch.topk(scores, count, dim=-1).values[..., -1:]
    above, level = scores > least, scores == least
    left = count - above.sum(-1, keepdim=True)
    return among & (above | (level & (level.cumsum(-1, dtype=torch.int32) <= left)))


class IndexedAttention(LatentAttention):
    """`LatentAttention` over what an indexer chooses; weights as there, those of what is another layer's left out."""

    def __init__(self, hidden: int, config: AttentionConfig, norm: NormConfig) -> None:
        super().__init__(hidden, config, norm)
        assert config.index is not None
        assert isinstance(config.growth, LearnedGrowth)
        self.growth = Growth(config.heads)
        if config.index.own:
            self.indexer = Indexer(hidden, config.index)

    def forward(
        self,
        x: Tensor,
        *,
        cosines: Tensor,
        sines: Tensor,
        mask: Tensor | None,
        past: Past | None = None,
        growth: Tensor | None = None,
        handed: Handed | None = None,
    ) -> Tensor:
        """As `Attention.forward`, with an `IndexedPast`, and ln(1 + position) as `growth`."""
        assert handed is not None
        assert growth is not None
        index, shared = self.config.index, self.latent.shared
        if index is not None and index.own:
            handed.seen = self.indexer(x, cosines=cosines, sines=sines, logarithms=growth, mask=mask, past=past)
        if self.latent.own:
            latents = self.latents(x, cosines, sines, past)
            if shared is not None:
                handed.latents[shared] = latents
        else:
            assert shared is not None
            latents = handed.latents[shared]
        query = self.turned_query(x, cosines, sines) * self.growth(growth)
        return self.attended(query, *latents, mask=handed.seen, cached=past is not None)
