"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): each token is remembered by one short vector.

Keys and values are rebuilt for every head as the paper defines them, or, where there are few queries for what is
remembered, never: the projections that rebuild them are put on the queries and on what was attended to instead
(section 2.1.2 there).

Legend: B batch, T new tokens, S tokens in all, D hidden, H heads, C latent rank, P plain, R rotary, V value dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import AttentionConfig, NormConfig
from model.layers.attention import Past, attend
from model.layers.norm import make_norm
from model.layers.rope import rotate


class LatentAttention(nn.Module):
    """The rows that turn are in half-split order; who loads a checkpoint with interleaved ones reorders them."""

    def __init__(self, hidden: int, config: AttentionConfig, norm: NormConfig) -> None:
        super().__init__()
        latent = config.latent
        assert latent is not None
        self.config = config
        self.latent = latent
        queries = config.heads * (latent.plain_dim + latent.rope_dim)
        if latent.query_rank is None:
            self.q_proj = nn.Linear(hidden, queries, bias=False)
        else:
            self.q_down_proj = nn.Linear(hidden, latent.query_rank, bias=config.qkv_bias)
            self.q_norm = make_norm(latent.query_rank, norm)
            self.q_up_proj = nn.Linear(latent.query_rank, queries, bias=False)
        if latent.own:
            self.kv_down_proj = nn.Linear(hidden, latent.rank + latent.rope_dim, bias=config.qkv_bias)
            self.kv_norm = make_norm(latent.rank, norm)
        self.kv_up_proj = nn.Linear(latent.rank, config.heads * (latent.plain_dim + latent.value_dim), bias=False)
        self.o_proj = nn.Linear(config.heads * latent.value_dim, hidden, bias=config.out_bias)

    def forward(
        self,
        x: Tensor,
        *,
        cosines: Tensor,
        sines: Tensor,
        mask: Tensor | None,
        past: Past | None = None,
        growth: Tensor | None = None,
    ) -> Tensor:
        """As `Attention.forward`; `past` keeps the latent [B, 1, S, C] and the rotary key [B, 1, S, R]."""
        query = self.turned_query(x, cosines, sines)
        query = query if growth is None else query * growth
        latents = self.latents(x, cosines, sines, past)
        return self.attended(query, *latents, mask=mask, cached=past is not None)

    def turned_query(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """[B, H, T, P + R]."""
        query = self._query(x)
        plain, turning = query[..., : self.latent.plain_dim], query[..., self.latent.plain_dim :]
        return torch.cat((plain, rotate(turning, cosines, sines)), -1)

    def latents(self, x: Tensor, cosines: Tensor, sines: Tensor, past: Past | None) -> tuple[Tensor, Tensor]:
        """Of all tokens there are, what is remembered: [B, 1, S, C] and [B, 1, S, R]."""
        rank = self.latent.rank
        short = self.kv_down_proj(x)[:, None]  # [B, 1, T, C + R]
        compressed, rotary = self.kv_norm(short[..., :rank]), rotate(short[..., rank:], cosines, sines)
        return (compressed, rotary) if past is None else past.extend(compressed, rotary)

    def attended(
        self, query: Tensor, compressed: Tensor, rotary: Tensor, *, mask: Tensor | None, cached: bool
    ) -> Tensor:
        """What queries [B, H, T, P + R] find, projected: [B, T, D]."""
        way = self._absorbed if cached and self.absorbs(query.shape[2]) else self._rebuilt
        found = way(query, compressed, rotary, mask)  # [B, H, T, V]
        projected: Tensor = self.o_proj(found.transpose(1, 2).flatten(2))
        return projected

    def absorbs(self, queries: int) -> bool:
        """Do so many queries cost less over the latents themselves than rebuilding keys and values for them does?

        Of each remembered token, rebuilding costs C · (P + V) a head, and a query P + R + V; over latents, 2 C + R.
        """
        latent = self.latent
        rebuilt = latent.plain_dim + latent.value_dim
        return queries * (2 * latent.rank - rebuilt) < latent.rank * rebuilt

    def _rebuilt(self, query: Tensor, compressed: Tensor, rotary: Tensor, mask: Tensor | None) -> Tensor:
        """query [B, H, T, P + R], compressed [B, 1, S, C], rotary [B, 1, S, R] to [B, H, T, V]: the definition."""
        plain = self.latent.plain_dim
        rebuilt = self._heads(self.kv_up_proj(compressed[:, 0]))  # [B, H, S, P + V]
        key = torch.cat((rebuilt[..., :plain], rotary.expand(-1, self.config.heads, -1, -1)), -1)
        return attend(query, key, rebuilt[..., plain:], mask=mask, scale=self.config.softmax_scale)

    def _absorbed(self, query: Tensor, compressed: Tensor, rotary: Tensor, mask: Tensor | None) -> Tensor:
        """As `_rebuilt`: attention of all heads over one key and value head, the latents."""
        plain = self.latent.plain_dim
        each = self.kv_up_proj.weight.view(self.config.heads, -1, self.latent.rank)
        into, out = each[:, :plain], each[:, plain:]  # [H, P, C], [H, V, C]
        query = torch.cat((query[..., :plain] @ into, query[..., plain:]), -1)  # [B, H, T, C + R]
        key = torch.cat((compressed, rotary), -1)
        attended = attend(query, key, compressed, mask=mask, scale=self.config.softmax_scale)  # [B, H, T, C]
        found: Tensor = attended @ out.transpose(1, 2)
        return found

    def _query(self, x: Tensor) -> Tensor:
        if self.latent.query_rank is None:
            return self._heads(self.q_proj(x))
        return self._heads(self.q_up_proj(self.q_norm(self.q_down_proj(x))))

    def _heads(self, projected: Tensor) -> Tensor:
        batch, tokens, _ = projected.shape
        return projected.view(batch, tokens, self.config.heads, -1).transpose(1, 2)
