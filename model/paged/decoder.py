"""The reference decoder's weights, run for several sequences at once over pages and slots. Any device; no gradients.

Legend: N new tokens of all sequences, D hidden, H query heads, G key/value heads, E head dimensions; of latent
attention C rank, P plain, R rotary, V value dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from model.config import NO_MLP, AttentionConfig, ModelConfig
from model.decoder import Decoder, Layer
from model.layers.attention import Attention
from model.layers.delta import Delta
from model.layers.indexed import IndexedAttention
from model.layers.latent import LatentAttention
from model.layers.norm import RmsNorm
from model.layers.rope import query_growth, rope_table, rotate
from model.layers.state_space import StateSpace
from model.paged.attention import Attend, Held, Look, PagedAttention
from model.paged.indexing import Asked, Choose, RaggedChoice, Seen, SteadyChoice, attend_to
from model.paged.pool import PagePool
from model.paged.recall import RaggedRecall, Recall, SteadyRecall
from model.paged.spans import Spans, Steps
from model.paged.states import StatePool
from model.remembered import attending, kv_shape, stores

_SLACK_TOKENS = 64
"""Positions beyond the context, which padding may reach."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an attention layer's keys and values lie, those of an earlier one where it has none; where its index keys
    do, if it chooses; and how it looks back."""

    store: int
    index: int | None
    look: Look


@dataclass(slots=True)
class _Pass:
    """What the layers share in one step: where new tokens go, ways to look back and to choose, and what the last layer
    that chose lets queries see; None: all before them."""

    slots: Tensor
    attend: Attend
    choose: Choose
    recall: Recall
    seen: Seen | None = None


class _Turn(NamedTuple):
    """Cosines and sines [N, 1, R] of the new tokens, and what their queries are multiplied by, [N, 1, 1], or, where the
    model learned that, the logarithm that it goes by."""

    cosines: Tensor
    sines: Tensor
    growth: Tensor | None

    @property
    def row(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same of one row of tokens, as the modules have it: [1, 1, N, ·]."""
        assert self.growth is not None
        cosines, sines, growth = (part.transpose(0, 1)[None] for part in (self.cosines, self.sines, self.growth))
        return cosines, sines, growth


class PagedDecoder:
    """Computes what `Decoder` computes. `pool` is where keys and values go, `states` where recurrent layers' states do;
    the first must be given before the first step, and the other where there are such layers."""

    def __init__(self, decoder: Decoder, attention: PagedAttention) -> None:
        self.config = decoder.config
        self.attention = attention
        weight = decoder.embedding.weight
        self.device, self.dtype = weight.device, weight.dtype
        self._decoder = decoder
        self._layers = [layer for layer in decoder.layers if isinstance(layer, Layer)]
        self.kv_shape = kv_shape(self.config, dtype=self.dtype)
        """What a token takes, and what a sequence does."""
        assert len(set(self.kv_shape.states)) <= 1
        self._attended = _places(self.config, [layer for layer in self._layers if layer.config.is_attention])
        places = torch.arange(self.config.context_tokens + _SLACK_TOKENS, device=self.device)
        exponents = decoder.rope_exponents if self.config.learned_rope is not None else None
        attentions = attending(self.config)
        self._tables = {
            rope: rope_table(rope, places, exponents if rope.learned else None)
            for rope in {one.rope for one in attentions}
        }
        growths = {one.growth for one in attentions if one.growth is not None}
        self._growths = {growth: query_growth(growth, places) for growth in growths}
        self.pool: PagePool
        self.states: StatePool
        if not self.kv_shape.states:
            self.states = StatePool(self.kv_shape, slots=1, device=self.device)

    @property
    def joined(self) -> bool:
        """Are keys and values parts of one vector?"""
        return any(one.latent is not None for one in attending(self.config))

    @torch.inference_mode()
    def ragged(self, tokens: list[int], spans: Spans) -> Tensor:
        """Any number of new tokens for each sequence, [N] in all, to hidden states after the last norm, [N, D]."""
        found = torch.tensor(tokens, device=self.device)
        attend = self.attention.ragged(spans)
        attend.begin()
        shared = _Pass(spans.slots, attend, RaggedChoice(spans), RaggedRecall(spans, self.states))
        return self._run(found, spans.positions, shared)

    @torch.inference_mode()
    def steady(self, steps: Steps, attend: Attend) -> Tensor:
        """As many new tokens for each sequence, [B, Q], to hidden states [B · Q, D]. Asks the host nothing.

        `attend` is what `attention.steady(steps)` gave.
        """
        steps.begin()
        attend.begin()
        shared = _Pass(steps.slots().flatten(), attend, SteadyChoice(steps), SteadyRecall(steps, self.states))
        return self._run(steps.tokens.flatten(), steps.positions().flatten(), shared)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [N, vocabulary]."""
        return self._decoder.head(hidden.to(self.dtype)).float()

    def _run(self, tokens: Tensor, positions: Tensor, shared: _Pass) -> Tensor:
        config = self.config
        x = self._decoder.embedding(tokens)  # [N, D]
        if config.embedding_scale != 1.0:
            x = x * config.embedding_scale
        turns = {
            rope: tuple(table[positions][:, None].to(x.dtype) for table in tables)  # [N, 1, R] each
            for rope, tables in self._tables.items()
        }
        grown = {growth: table[positions][:, None, None].to(x.dtype) for growth, table in self._growths.items()}
        attended = recurrent = 0
        for layer in self._layers:
            shape = layer.config
            normed = norm(layer.attention_norm, x.to(self.dtype))
            if isinstance(shape.mixer, AttentionConfig):
                growth = None if shape.mixer.growth is None else grown[shape.mixer.growth]
                cosines, sines = turns[shape.mixer.rope]
                turn = _Turn(cosines, sines, growth)
                mixed = self._attend(self._attended[attended], layer.attention, normed, turn, shared)
                attended += 1
            else:
                assert isinstance(layer.mixer, StateSpace | Delta)
                mixed = shared.recall(layer.mixer, normed, recurrent)
                recurrent += 1
            if shape.parallel:
                x = x + (mixed + layer.mlp(normed)) * shape.residual_scale
                continue
            x = x.float() if shape.wide_residual else x
            x = x + mixed * shape.residual_scale if shape.residual_scale != 1.0 else x + mixed
            if shape.mlp == NO_MLP:
                continue
            fed = layer.mlp(norm(layer.mlp_norm, x))
            x = x + fed * shape.residual_scale if shape.residual_scale != 1.0 else x + fed
        return norm(self._decoder.norm, x).to(self.dtype)

    def _attend(self, place: _Place, module: torch.nn.Module, x: Tensor, turn: _Turn, shared: _Pass) -> Tensor:
        if isinstance(module, LatentAttention):
            return self._attend_latent(place, module, x, turn, shared)
        assert isinstance(module, Attention)
        config = module.config
        query = module.q_proj(x).view(len(x), -1, config.head_dim)  # [N, H, E]
        key = module.k_proj(x).view(len(x), -1, config.head_dim)  # [N, G, E]
        value = module.v_proj(x).view(len(x), -1, config.head_dim)
        if config.head_norm is not None:
            query, key = norm(module.q_norm, query), norm(module.k_norm, key)
        query, key = rotate(query, turn.cosines, turn.sines), rotate(key, turn.cosines, turn.sines)
        query = query if turn.growth is None else query * turn.growth
        keys, values = self.pool.keys[place.store], self.pool.values[place.store]
        keys.index_copy_(0, shared.slots, key.to(keys.dtype))
        values.index_copy_(0, shared.slots, value.to(values.dtype))
        joined = shared.attend(query, Held(key, value, keys, values), place.look).flatten(1)  # [N, H · E]
        if config.gated:
            joined = joined * torch.sigmoid(module.gate_proj(x))
        projected: Tensor = module.o_proj(joined)
        return projected

    def _attend_latent(self, place: _Place, module: LatentAttention, x: Tensor, turn: _Turn, shared: _Pass) -> Tensor:
        """All heads over one key and value head, the latents: what each head makes of them is moved into its query and
        out of its answer (`LatentAttention` says why that is the same)."""
        latent = module.latent
        query = module._query(x[None])[0].transpose(0, 1)  # [N, H, P + R]
        each = module.kv_up_proj.weight.view(module.config.heads, -1, latent.rank)
        into, out = each[:, : latent.plain_dim], each[:, latent.plain_dim :]  # [H, P, C], [H, V, C]
        plain = torch.einsum("nhp,hpc->nhc", query[..., : latent.plain_dim], into)
        query = torch.cat(
            (plain, rotate(query[..., latent.plain_dim :], turn.cosines, turn.sines)), -1
        )  # [N, H, C + R]
        growth = turn.growth
        if isinstance(module, IndexedAttention):
            growth = module.growth(turn.row[2])[0].transpose(0, 1)  # [N, H, 1]
            if place.index is not None:
                shared.seen = self._choose(place.index, module, x, turn, shared)
        query = query if growth is None else query * growth
        held = self._latents(place, module, x, turn, shared.slots)
        if shared.seen is None:
            attended = shared.attend(query, held, place.look)  # [N, H, C]
        else:
            attended = attend_to(shared.seen, query, held, place.look)
        projected: Tensor = module.o_proj(torch.einsum("nhc,hvc->nhv", attended, out).flatten(1))
        return projected

    def _latents(self, place: _Place, module: LatentAttention, x: Tensor, turn: _Turn, slots: Tensor) -> Held:
        """What is attended to, with what the new tokens add: this layer's own, or what an earlier one left there."""
        latent, store = module.latent, self.pool.keys[place.store]
        width = latent.rank + latent.rope_dim
        if latent.own:
            short = module.kv_down_proj(x)[:, None]  # [N, 1, C + R]
            rotary = rotate(short[..., latent.rank :], turn.cosines, turn.sines)
            key = torch.cat((norm(module.kv_norm, short[..., : latent.rank]), rotary), -1)
            store.index_copy_(0, slots, functional.pad(key, (0, store.shape[2] - width)).to(store.dtype))
        else:
            key = store[slots, :, :width]
        return Held(key, key[..., : latent.rank], store[..., :width], store[..., : latent.rank])

    def _choose(self, index: int, module: IndexedAttention, x: Tensor, turn: _Turn, shared: _Pass) -> Seen | None:
        """What each new token sees; None: all before it."""
        indexer, store = module.indexer, self.pool.index_keys[index]
        cosines, sines, logarithms = turn.row
        store.index_copy_(0, shared.slots, indexer.keys(x[None], cosines, sines)[0, 0].to(store.dtype))
        if shared.choose.sees_all(indexer.config.chosen):
            return None
        asked = Asked(indexer.queries(x[None], cosines, sines, logarithms), indexer.weigh(x[None]))
        return shared.choose(indexer, asked, store)


def norm(module: torch.nn.Module, x: Tensor) -> Tensor:
    """A norm of the reference; on a GPU the root-mean-square one in a single kernel."""
    if isinstance(module, RmsNorm) and x.device.type == "cuda":
        weight = module.weight.to(x.dtype)
        return functional.rms_norm(x, weight.shape, weight, module.epsilon)
    normed: Tensor = module(x)
    return normed


def _places(config: ModelConfig, layers: list[Layer]) -> list[_Place]:
    """Of each layer that attends."""
    indexes = count()
    found = []
    for store, layer in zip(stores(config), layers, strict=True):
        attention = layer.config.attention
        chooses = attention.index is not None and attention.index.own
        sinks = layer.attention.sinks if attention.sinks else None
        assert sinks is None or isinstance(sinks, Tensor)
        look = Look(scale=attention.softmax_scale, window=attention.window, sinks=sinks)
        found.append(_Place(store, next(indexes) if chooses else None, look))
    return found
