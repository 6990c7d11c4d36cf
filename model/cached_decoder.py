"""The reference modules with a cache for one sequence, on a CPU: every architecture, and what `model.paged` is held
against.

Legend: M new tokens, S tokens in all, D hidden, V vocabulary, G key/value heads, C capacity, E head dimensions,
I index dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from model.config import AttentionConfig, ModelConfig
from model.decoder import Decoder
from model.head import CANDIDATES, Head
from model.kv_cache import KvCache, KvShape, State
from model.layers.attention import Past
from model.layers.recurrent import Memory, Recurrence
from model.remembered import kv_shape


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
        self.reference = self._decoder = decoder
        # CPUs multiply single rows in float32, where those of bfloat16 take longer.
        self.kv_shape = kv_shape(decoder.config, dtype=torch.float32)
        """What a cache for this model looks like."""

    @torch.inference_mode()
    def forward(self, tokens: list[int], cache: KvCache, *, last_only: bool = True) -> Tensor:
        """As `ServesTokens.forward`."""
        start = len(cache.tokens)
        cache.reserve(start + len(tokens))
        past = self._past(cache, start, len(tokens))
        positions = torch.arange(start, start + len(tokens))[None]
        hidden: Tensor = self._decoder(torch.tensor([tokens]), positions=positions, past=past)[0]
        cache.tokens += tokens
        cache.states = [memory.kept[0] for memory in past if isinstance(memory, _Recurrent)]
        return hidden[-1:] if last_only else hidden

    def _past(self, cache: KvCache, start: int, count: int) -> list[Past | Memory]:
        """What each layer remembers, in the form that it wants."""
        plain = (keys[..., 0] for keys in cache.keys)  # a block is one token: [G, C, E]
        held, index = zip(plain, cache.values, strict=True), iter(cache.index_keys)
        states = iter(cache.states)
        past: list[Past | Memory] = []
        for layer in self._decoder.config.layers:
            if not isinstance(layer.mixer, AttentionConfig):
                past.append(_Recurrent(next(states, None), (count,)))
            elif layer.mixer.latent is None:
                past.append(_Heads(*next(held), start))
            elif layer.mixer.index is None:
                past.append(_Latent(*next(held), start))
            else:
                latents = _Latent(*next(held), start) if layer.mixer.remembers else None
                past.append(_Indexed(latents, next(index) if layer.mixer.index.own else None, start))
        return past


class ModuleHead:
    """Logits float32 [M, V] of hidden states [M, D], all of them exact, as the reference has them."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @torch.inference_mode()
    def __call__(self, hidden: Tensor, *, candidates: int = CANDIDATES, allowed: Tensor | None = None) -> Tensor:
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


@dataclass(frozen=True, slots=True)
class _Indexed:
    """One layer's `IndexedPast`: its latents where it makes them, and index keys [C, I] where it chooses."""

    latents: _Latent | None
    index: Tensor | None
    start: int

    def extend(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        assert self.latents is not None
        return self.latents.extend(first, second)

    def extend_index(self, keys: Tensor) -> Tensor:
        assert self.index is not None
        stop = self.start + keys.shape[2]
        self.index[self.start : stop] = keys[0, 0]
        return self.index[None, None, :stop].to(keys.dtype)


@dataclass(frozen=True, slots=True)
class _Recurrent:
    """One recurrent layer's `Memory`: what it held before, and what it holds behind all new tokens."""

    held: State | None
    marks: tuple[int, ...]
    kept: list[State] = field(default_factory=list)

    def window(self) -> Tensor | None:
        return None if self.held is None else self.held[0]

    def state(self) -> Tensor | None:
        return None if self.held is None else self.held[1]

    def walk(self, rows: Recurrence, joined: Tensor) -> None:
        """The state is replaced, never changed."""

    @property
    def live(self) -> None:
        """All tokens count."""

    def keep(self, tokens: int, joined: Tensor, state: Tensor) -> None:
        self.kept.append((joined[:, tokens:].clone(), state))
