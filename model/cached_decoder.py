"""Serving by the reference modules with a key-value cache: every architecture, slower than packed weights. On CPU.

Legend: M new tokens, S tokens in all, D hidden, V vocabulary, G key/value heads, C capacity, E head dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from model.config import AttentionConfig, ModelConfig
from model.decoder import Decoder
from model.errors import CheckpointError
from model.head import CANDIDATES, Head
from model.kv_cache import KvCache, KvShape


class ServesTokens(Protocol):
    """A decoder with a cache, for one sequence at a time: packed weights (`model.serving`), or modules."""

    @property
    def config(self) -> ModelConfig: ...
    @property
    def kv_shape(self) -> KvShape: ...

    def forward(self, tokens: list[int], cache: KvCache, *, last_only: bool = True) -> Tensor:
        """Compute new tokens after those in the cache, and add them to it. Returns hidden states after the last norm,
        [M, D], or [1, D] of the last token with `last_only`."""
        ...


class Loaded(Protocol):
    """A model that is ready to serve, however it computes."""

    @property
    def decoder(self) -> ServesTokens: ...
    @property
    def head(self) -> Head: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def parameters(self) -> int: ...
    @property
    def quantization(self) -> str: ...
    @property
    def rows_agree(self) -> bool:
        """Does computing a few tokens at once give the same bits as one after another?"""
        ...


class CachedDecoder:
    """A `Decoder` that remembers. Raises `CheckpointError` for layers whose caches differ in shape."""

    def __init__(self, decoder: Decoder) -> None:
        self.config = decoder.config
        self._decoder = decoder
        shapes = {_cached_numbers(layer.attention) for layer in decoder.config.layers}
        if len(shapes) > 1:
            raise CheckpointError(
                "The layers of this model have key-value heads of different shapes, which is not supported.",
                hint="Use another model.",
            )
        ((self._kv_heads, self._head_dim),) = shapes

    @property
    def kv_shape(self) -> KvShape:
        """What a cache for this model looks like. Latent attention keeps one short vector a token, in two halves."""
        layers = len(self._decoder.config.layers)
        return KvShape(layers=layers, kv_heads=self._kv_heads, head_dim=self._head_dim)

    @torch.inference_mode()
    def forward(self, tokens: list[int], cache: KvCache, *, last_only: bool = True) -> Tensor:
        """As `ServesTokens.forward`."""
        start = len(cache.tokens)
        cache.reserve(start + len(tokens))
        past = [
            _Latent(keys, values, start) if layer.attention.latent is not None else _Heads(keys, values, start)
            for layer, keys, values in zip(self._decoder.config.layers, cache.keys, cache.values, strict=True)
        ]
        positions = torch.arange(start, start + len(tokens))[None]
        hidden: Tensor = self._decoder(torch.tensor([tokens]), positions=positions, past=past)[0]
        cache.tokens += tokens
        return hidden[-1:] if last_only else hidden


class ModuleHead:
    """Logits float32 [M, V] of hidden states [M, D], all of them exact, as the reference has them."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @torch.inference_mode()
    def __call__(self, hidden: Tensor, *, candidates: int = CANDIDATES) -> Tensor:
        return self._decoder.head(hidden.to(self._decoder.embedding.weight.dtype)).float()


@dataclass(frozen=True, slots=True)
class _Heads:
    """One layer's part of the cache: keys and values [G, C, E], of which `start` tokens are held."""

    keys: Tensor
    values: Tensor
    start: int

    def extend(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """[1, G, M, E] each to [1, G, S, E] each."""
        stop = self.start + first.shape[2]
        self.keys[:, self.start : stop], self.values[:, self.start : stop] = first[0], second[0]
        return self.keys[None, :, :stop].to(first.dtype), self.values[None, :, :stop].to(second.dtype)


@dataclass(frozen=True, slots=True)
class _Latent:
    """One layer's latents and rotary keys, laid end to end: the first half of each among the keys, the rest among the
    values, so that a cache with as many keys as values wastes nothing."""

    keys: Tensor
    values: Tensor
    start: int

    def extend(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [1, 1, M, ·] and rotary keys [1, 1, M, ·] to all of them."""
        rank, width, half = first.shape[3], first.shape[3] + second.shape[3], self.keys.shape[2]
        stop = self.start + first.shape[2]
        joined = functional.pad(torch.cat((first, second), -1)[0], (0, 2 * half - width))  # [1, M, 2 E]
        self.keys[:, self.start : stop] = joined[..., :half]
        self.values[:, self.start : stop] = joined[..., half:]
        held = torch.cat((self.keys[:, :stop], self.values[:, :stop]), -1)[None].to(first.dtype)
        return held[..., :rank], held[..., rank:width]


def _cached_numbers(config: AttentionConfig) -> tuple[int, int]:
    """Key/value heads, and half of what each remembers of a token."""
    if config.latent is None:
        return config.kv_heads, config.head_dim
    return 1, (config.latent.rank + config.latent.rope_dim + 1) // 2
