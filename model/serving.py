"""The decoder as it serves: fused and packed weights, a key-value cache, no gradients. Equal to `model.decoder`.

Knows no requests, no text and no checkpoint format.

Legend: M new tokens, T tokens in all, D hidden, I intermediate, H query heads, G key/value heads, E head dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.attention import AttentionBackend
from model.config import AttentionConfig, ModelConfig
from model.kv_cache import KvCache, KvShape
from model.layers.rope import rope_table, rotate
from model.linear import FEW_ROWS, Linear

_ROW_MULTIPLE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLayer:
    """One block's weights. The query rows of `qkv` are divided by √E; the rows of `gate_up` are gate, then up."""

    attention_norm: Tensor
    qkv: Linear
    out: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


class ServingDecoder:
    """A decoder for one sequence at a time, on CPU.

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
        self._zeros = torch.zeros(1, config.hidden)
        self._cosines, self._sines = _tables(self._shape, config.context_tokens)

    @property
    def kv_shape(self) -> KvShape:
        """What a cache for this model looks like."""
        return KvShape(layers=len(self._layers), kv_heads=self._shape.kv_heads, head_dim=self._shape.head_dim)

    @torch.inference_mode()
    def forward(self, tokens: list[int], cache: KvCache, *, last_only: bool = True) -> Tensor:
        """Compute new tokens after those in the cache, and add them to it.

        Returns hidden states after the last norm, float32 [M, D], or [1, D] of the last token with `last_only`.
        """
        start, rows = len(cache.tokens), len(tokens)
        padded = rows
        if rows > FEW_ROWS and self._dtype is not torch.float32:
            # Each new row count costs oneDNN a compilation. The padding's keys lie beyond the cache's end.
            padded = -(-rows // _ROW_MULTIPLE) * _ROW_MULTIPLE
            padded = min(padded, self.config.context_tokens - start)
        cache.reserve(start + padded)
        ids = torch.tensor(tokens + [0] * (padded - rows))
        x = self._embedding[ids].float()  # [M, D]
        tables = (self._cosines[start : start + padded], self._sines[start : start + padded])
        if padded == 1:
            tables = (tables[0][0], tables[1][0])
        step = self._one if padded == 1 else self._layer
        for layer, keys, values in zip(self._layers, cache.keys, cache.values, strict=True):
            x = step(layer, x, keys, values, start, tables)
        cache.tokens += tokens
        x = x[rows - 1 : rows] if last_only else x[:rows]
        return functional.rms_norm(x, self._norm.shape, self._norm, self.config.norm.epsilon)

    def _one(
        self,
        layer: ServingLayer,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        start: int,
        tables: tuple[Tensor, Tensor],
    ) -> Tensor:
        """`_layer` for a single token, where the overhead of small kernels counts: the same in fewer of them."""
        shape = self._shape
        turning, queries = shape.heads + shape.kv_heads, shape.heads
        heads = layer.qkv(self._normed_one(x, layer.attention_norm)).float().view(-1, shape.head_dim)  # [H + 2 G, E]
        turned = _turn(heads[:turning], *tables)
        keys[:, start] = turned[queries:]
        values[:, start] = heads[turning:]
        x.add_(layer.out(self._attention.attend(turned[None, :queries], keys, values, start)))
        gate, up = layer.gate_up(self._normed_one(x, layer.mlp_norm)).chunk(2, dim=-1)  # [1, I] each
        return x.add_(layer.down(functional.silu(gate).mul_(up)))

    def _normed_one(self, x: Tensor, weight: Tensor) -> Tensor:
        row = x[0]
        mean = float(torch.dot(row, row)) / len(row)
        return torch.addcmul(self._zeros, x, weight, value=(mean + self.config.norm.epsilon) ** -0.5)

    def _layer(
        self,
        layer: ServingLayer,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        start: int,
        tables: tuple[Tensor, Tensor],
    ) -> Tensor:
        shape, rows = self._shape, x.shape[0]
        turning = shape.heads + shape.kv_heads
        epsilon = self.config.norm.epsilon
        normed = functional.rms_norm(x, layer.attention_norm.shape, layer.attention_norm, epsilon)
        heads = layer.qkv(normed).float().view(rows, -1, shape.head_dim)  # [M, H + 2 G, E]
        turned = _turn(heads[:, :turning], *tables)
        keys[:, start : start + rows] = turned[:, shape.heads :].transpose(0, 1)
        values[:, start : start + rows] = heads[:, turning:].transpose(0, 1)
        attended = self._attention.attend(turned[:, : shape.heads], keys, values, start)  # [M, H · E]
        x = x.add_(layer.out(attended))
        normed = functional.rms_norm(x, layer.mlp_norm.shape, layer.mlp_norm, epsilon)
        gate, up = layer.gate_up(normed).chunk(2, dim=-1)  # [M, I] each
        return x.add_(layer.down(functional.silu(gate).mul_(up)))


def _tables(config: AttentionConfig, tokens: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, 1, R]; the sines of the first half carry the rotation's minus sign."""
    cosines, sines = rope_table(config.rope, torch.arange(tokens))
    sines[:, : config.rope.dimensions // 2].neg_()
    return cosines[:, None], sines[:, None]


def _turn(heads: Tensor, cosines: Tensor, signed_sines: Tensor) -> Tensor:
    """`model.layers.rope.rotate` in three kernels, for heads [M, H + G, E] and tables [M, 1, R]."""
    rotated = cosines.shape[-1]
    if rotated == heads.shape[-1]:
        return torch.addcmul(heads * cosines, heads.roll(rotated // 2, -1), signed_sines)
    sines = torch.cat((-signed_sines[..., : rotated // 2], signed_sines[..., rotated // 2 :]), dim=-1)
    return rotate(heads, cosines, sines)
