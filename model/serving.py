"""The decoder as it serves: fused and packed weights, a key-value cache, no gradients. Equal to `model.decoder`.

Knows no requests, no text and no checkpoint format.

Legend: M new tokens, T tokens in all, D hidden, I intermediate, H query heads, G key/value heads, E head dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.attention import AttentionBackend
from model.bags import BLOCK_TOKENS
from model.config import AttentionConfig, ModelConfig
from model.few_tokens import FEW_TOKENS, FewTokens
from model.kv_cache import KvCache, KvShape
from model.layers.rope import rope_table
from model.linear import FEW_ROWS
from model.serving_layer import ServingLayer

_ROW_MULTIPLE = 16


class ServingDecoder:
    """A decoder for one sequence at a time, on CPU. Not for several threads: they would share scratch memory.

    `embedding` [V, D] and `norm` [D] as the reference has them; `dtype` is what many rows are computed in.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        embedding: Tensor,
        layers: list[ServingLayer],
        norm: Tensor,
        attention: AttentionBackend,
        dtype: torch.dtype,
    ) -> None:
        self.config = config
        self._embedding = embedding
        self._layers = layers
        self._norm = norm
        self._attention = attention
        self._dtype = dtype
        self._shape = config.layers[0].attention
        self._turns = _turns(self._shape, config.context_tokens)
        self._few = [
            FewTokens(
                rows,
                hidden=config.hidden,
                attention=self._shape,
                epsilon=config.norm.epsilon,
                turns=self._turns,
                dtype=layers[0].qkv.few_dtype,
            )
            for rows in range(1, FEW_TOKENS + 1)
        ]

    @property
    def kv_shape(self) -> KvShape:
        """What a cache for this model looks like. Half precision (as llama.cpp keeps it) unless all is float32."""
        return KvShape(
            layers=len(self._layers),
            kv_heads=self._shape.kv_heads,
            head_dim=self._shape.head_dim,
            dtype=torch.float32 if self._dtype is torch.float32 else torch.float16,
            block_tokens=BLOCK_TOKENS,
        )

    @torch.inference_mode()
    def forward(self, tokens: list[int], cache: KvCache, *, last_only: bool = True) -> Tensor:
        """Compute new tokens after those in the cache, and add them to it.

        Returns hidden states after the last norm, float32 [M, D], or [1, D] of the last token with `last_only`.
        """
        rows = len(tokens)
        if rows <= FEW_TOKENS:
            cache.reserve(len(cache.tokens) + rows)
            embedded = [self._embedding[token] for token in tokens]
            hidden = self._few[rows - 1].run(embedded, self._layers, self._norm, cache).clone()
        else:
            hidden = self._many(tokens, cache)
        cache.tokens += tokens
        return hidden[rows - 1 :] if last_only else hidden

    def _many(self, tokens: list[int], cache: KvCache) -> Tensor:
        start, rows = len(cache.tokens), len(tokens)
        padded = rows
        if rows > FEW_ROWS and self._dtype is not torch.float32:
            # Each new row count costs oneDNN a compilation. The padding's keys lie beyond the cache's end.
            padded = -(-rows // _ROW_MULTIPLE) * _ROW_MULTIPLE
            padded = min(padded, self.config.context_tokens - start)
        cache.reserve(start + padded)
        x = self._embedding[torch.tensor(tokens + [0] * (padded - rows))].float()  # [M, D]
        turns = self._turns[start : start + padded, None]  # [M, 1, E / 2]
        key_places, value_places = cache.key_places(start, padded), cache.value_places(start, padded)
        for index, layer in enumerate(self._layers):
            turned, values = self._heads(layer, x, turns)
            queries, keys = turned[:, : self._shape.heads], turned[:, self._shape.heads :]
            for new, places in key_places:
                places[index].copy_(keys[new])
            value_places[index].copy_(values)
            attended = self._attention.attend(queries, cache.keys[index], cache.values[index], start)  # [M, H · E]
            x = self._rest(layer, x.add_(layer.out(attended)))
        return functional.rms_norm(x[:rows], self._norm.shape, self._norm, self.config.norm.epsilon)

    def _heads(self, layer: ServingLayer, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Turned queries and keys [M, H + G, E], and values [M, G, E]."""
        shape, rows = self._shape, x.shape[0]
        turning = shape.heads + shape.kv_heads
        normed = functional.rms_norm(x, layer.attention_norm.shape, layer.attention_norm, self.config.norm.epsilon)
        heads = layer.qkv(normed).float()
        if layer.qkv_bias is not None:
            heads = heads + layer.qkv_bias
        heads = heads.view(rows, -1, shape.head_dim)  # [M, H + 2 G, E]
        pairs = torch.view_as_complex(heads[:, :turning].view(rows, turning, -1, 2))
        return torch.view_as_real(pairs * turns).flatten(2), heads[:, turning:]

    def _rest(self, layer: ServingLayer, x: Tensor) -> Tensor:
        normed = functional.rms_norm(x, layer.mlp_norm.shape, layer.mlp_norm, self.config.norm.epsilon)
        gate, up = layer.gate_up(normed).chunk(2, dim=-1)  # [M, I] each
        return x.add_(layer.down(functional.silu(gate).mul_(up)))


def _turns(config: AttentionConfig, tokens: int) -> Tensor:
    """Rotations by position as complex numbers [T, E / 2], for heads whose dimensions lie in pairs.

    What does not rotate is multiplied by one.
    """
    cosines, sines = rope_table(config.rope, torch.arange(tokens))
    half = config.rope.dimensions // 2
    turns = torch.ones(tokens, config.head_dim // 2, dtype=torch.complex64)
    turns[:, :half] = torch.complex(cosines[:, :half], sines[:, :half])
    return turns


def interleaved(head_dim: int, rotated: int) -> list[int]:
    """The order of a head's rows that puts the two dimensions of each rotation side by side."""
    half = rotated // 2
    return [place for pair in range(half) for place in (pair, pair + half)] + list(range(rotated, head_dim))
