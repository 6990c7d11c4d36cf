"""Causal grouped-query attention.

Legend: B batch, T new tokens, S tokens in all, D hidden, H query heads, G key/value heads, E head dimensions.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import AttentionConfig
from model.layers.norm import make_norm
from model.layers.rope import rotate


class Past(Protocol):
    """What a layer remembers of earlier tokens, in the layer's own form."""

    def extend(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Take what the new tokens add, [B, G, T, ·] each, and return all there is, [B, G, S, ·] each."""
        ...


class Attention(nn.Module):
    """Projections, rotary positions and softmax attention."""

    def __init__(self, hidden: int, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(hidden, queries, bias=config.qkv_bias)
        self.k_proj = nn.Linear(hidden, keys, bias=config.qkv_bias)
        self.v_proj = nn.Linear(hidden, keys, bias=config.qkv_bias)
        self.o_proj = nn.Linear(queries, hidden, bias=config.out_bias)
        if config.head_norm is not None:
            self.q_norm = make_norm(config.head_dim, config.head_norm)
            self.k_norm = make_norm(config.head_dim, config.head_norm)
        if config.sinks:
            self.sinks = nn.Parameter(torch.zeros(config.heads))
        if config.gated:
            self.gate_proj = nn.Linear(hidden, queries, bias=config.qkv_bias)

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
        """x [B, T, D]; tables [B, 1, T, R]; mask [B, 1, T, S], true where a query sees a key, None: plain causal;
        growth [B, 1, T, 1], what queries are multiplied by."""
        query, key = self._split(self.q_proj(x)), self._split(self.k_proj(x))
        if self.config.head_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        query = rotate(query, cosines, sines)  # [B, H, T, E]
        query = query if growth is None else query * growth
        key = rotate(key, cosines, sines)  # [B, G, T, E]
        value = self._split(self.v_proj(x))
        if past is not None:
            key, value = past.extend(key, value)
        sinks = self.sinks if self.config.sinks else None
        attended = attend(query, key, value, mask=mask, scale=self.config.softmax_scale, sinks=sinks)
        joined = attended.transpose(1, 2).flatten(2)  # [B, T, H · E]
        if self.config.gated:
            joined = joined * torch.sigmoid(self.gate_proj(x))
        projected: Tensor = self.o_proj(joined)  # [B, T, D]
        return projected

    def _split(self, projected: Tensor) -> Tensor:
        batch, tokens, _ = projected.shape
        return projected.view(batch, tokens, -1, self.config.head_dim).transpose(1, 2)


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, scale: float, sinks: Tensor | None = None
) -> Tensor:
    """query [B, H, T, E], key and value [B, G, S, E] to [B, H, T, E]; `sinks` [H] are scores that carry no value."""
    if sinks is None:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
        )
    batch, heads, tokens, _ = query.shape
    repeated = heads // key.shape[1]
    key, value = key.repeat_interleave(repeated, 1), value.repeat_interleave(repeated, 1)
    scores = (query @ key.transpose(2, 3)).float() * scale  # [B, H, T, S]
    seen = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril() if mask is None else mask
    scores = scores.masked_fill(~seen, float("-inf"))
    drained = sinks.float()[None, :, None, None].expand(batch, heads, tokens, 1)
    shares = torch.softmax(torch.cat((scores, drained), -1), -1)[..., :-1]
    return shares.to(value.dtype) @ value
