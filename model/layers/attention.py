"""Causal grouped-query attention.

Legend: B batch, T tokens, D hidden, H query heads, G key/value heads, E head dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from model.config import AttentionConfig
from model.layers.rope import rotate


class Attention(nn.Module):
    """Projections, rotary positions and softmax attention, with no cache."""

    def __init__(self, hidden: int, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(hidden, queries, bias=config.qkv_bias)
        self.k_proj = nn.Linear(hidden, keys, bias=config.qkv_bias)
        self.v_proj = nn.Linear(hidden, keys, bias=config.qkv_bias)
        self.o_proj = nn.Linear(queries, hidden, bias=False)

    def forward(self, x: Tensor, *, cosines: Tensor, sines: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, T, D]; tables [B, 1, T, R]; mask [B, 1, T, T], true where a query sees a key, None: plain causal."""
        query = rotate(self._split(self.q_proj(x)), cosines, sines)  # [B, H, T, E]
        key = rotate(self._split(self.k_proj(x)), cosines, sines)  # [B, G, T, E]
        value = self._split(self.v_proj(x))
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        projected: Tensor = self.o_proj(attended.transpose(1, 2).flatten(2))  # [B, T, D]
        return projected

    def _split(self, projected: Tensor) -> Tensor:
        batch, tokens, _ = projected.shape
        return projected.view(batch, tokens, -1, self.config.head_dim).transpose(1, 2)
