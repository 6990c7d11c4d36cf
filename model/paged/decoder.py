"""The reference decoder's weights, run for several sequences at once over pages and slots. Any device; no gradients.

Legend: N new tokens of all sequences, D hidden, H query heads, G key/value heads, E head dimensions; of latent
attention C rank, P plain, R rotary, V value dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.config import NO_MLP, AttentionConfig, ModelConfig, RecurrentConfig
from model.decoder import Decoder, Layer
from model.kv_cache import KvShape, StateShape
from model.layers.attention import Attention
from model.layers.delta import Delta
from model.layers.latent import LatentAttention
from model.layers.norm import RmsNorm
from model.layers.rope import query_growth, rope_table, rotate
from model.layers.state_space import StateSpace
from model.paged.attention import Attend, Held, Look, PagedAttention
from model.paged.pool import PagePool
from model.paged.recall import RaggedRecall, Recall, SteadyRecall
from model.paged.spans import Spans, Steps
from model.paged.states import StatePool

_SLACK_TOKENS = 64
"""Positions beyond the context, which padding may reach."""


def is_paged(config: ModelConfig) -> bool:
    """Can pages and slots hold all that this model remembers: keys and values of one shape, states of one shape, and no
    index keys?"""
    attended = _attended(config)
    shapes = {(*one.remembered, one.latent is None) for one in attended}
    return len(shapes) <= 1 and len(set(_states(config))) <= 1 and all(one.index is None for one in attended)


def _attended(config: ModelConfig) -> list[AttentionConfig]:
    return [layer.mixer for layer in config.layers if isinstance(layer.mixer, AttentionConfig)]


def _states(config: ModelConfig) -> tuple[StateShape, ...]:
    """What each recurrent layer remembers."""
    mixers = [layer.mixer for layer in config.layers if isinstance(layer.mixer, RecurrentConfig)]
    return tuple(StateShape((mixer.kernel - 1, mixer.channels), mixer.state_shape) for mixer in mixers)


class PagedDecoder:
    """Computes what `Decoder` computes. `pool` is where keys and values go, `states` where recurrent layers' states do;
    the first must be given before the first step, and the other where there are such layers."""

    def __init__(self, decoder: Decoder, attention: PagedAttention) -> None:
        assert is_paged(decoder.config)
        self.config = decoder.config
        self.attention = attention
        weight = decoder.embedding.weight
        self.device, self.dtype = weight.device, weight.dtype
        self._decoder = decoder
        self._layers = [layer for layer in decoder.layers if isinstance(layer, Layer)]
        self._looks = [_look(layer) for layer in self._layers if layer.config.is_attention]
        places = torch.arange(self.config.context_tokens + _SLACK_TOKENS, device=self.device)
        attentions = _attended(self.config)
        self._tables = {rope: rope_table(rope, places) for rope in {one.rope for one in attentions}}
        growths = {one.growth for one in attentions if one.growth is not None}
        self._growths = {growth: query_growth(growth, places) for growth in growths}
        self.pool: PagePool
        self.states: StatePool
        if not self.kv_shape.states:
            self.states = StatePool(self.kv_shape, slots=1, device=self.device)

    @property
    def kv_shape(self) -> KvShape:
        """What a token takes, and what a sequence does. Latent attention keeps one short vector, as two halves."""
        attended = _attended(self.config)
        kv_heads, head_dim = attended[0].remembered if attended else (0, 0)
        states = _states(self.config)
        return KvShape(layers=len(attended), kv_heads=kv_heads, head_dim=head_dim, dtype=self.dtype, states=states)

    @property
    def joined(self) -> bool:
        """Are keys and values parts of one vector?"""
        return any(one.latent is not None for one in _attended(self.config))

    @torch.inference_mode()
    def ragged(self, tokens: list[int], spans: Spans) -> Tensor:
        """Any number of new tokens for each sequence, [N] in all, to hidden states after the last norm, [N, D]."""
        found = torch.tensor(tokens, device=self.device)
        attend = self.attention.ragged(spans)
        attend.begin()
        return self._run(found, spans.positions, spans.slots, attend, RaggedRecall(spans, self.states))

    @torch.inference_mode()
    def steady(self, steps: Steps, attend: Attend) -> Tensor:
        """As many new tokens for each sequence, [B, Q], to hidden states [B · Q, D]. Asks the host nothing.

        `attend` is what `attention.steady(steps)` gave.
        """
        steps.begin()
        attend.begin()
        recall = SteadyRecall(steps, self.states)
        return self._run(steps.tokens.flatten(), steps.positions().flatten(), steps.slots().flatten(), attend, recall)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [N, vocabulary]."""
        return self._decoder.head(hidden.to(self.dtype)).float()

    def _run(self, tokens: Tensor, positions: Tensor, slots: Tensor, attend: Attend, recall: Recall) -> Tensor:
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
                cosines, sines = turns[shape.mixer.rope]
                growth = None if shape.mixer.growth is None else grown[shape.mixer.growth]
                mixed = self._attend(attended, layer.attention, normed, cosines, sines, growth, slots, attend)
                attended += 1
            else:
                assert isinstance(layer.mixer, StateSpace | Delta)
                mixed = recall(layer.mixer, normed, recurrent)
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

    def _attend(
        self,
        number: int,
        module: torch.nn.Module,
        x: Tensor,
        cosines: Tensor,
        sines: Tensor,
        growth: Tensor | None,
        slots: Tensor,
        attend: Attend,
    ) -> Tensor:
        if isinstance(module, LatentAttention):
            return self._attend_latent(number, module, x, cosines, sines, growth, slots, attend)
        assert isinstance(module, Attention)
        config = module.config
        query = module.q_proj(x).view(len(x), -1, config.head_dim)  # [N, H, E]
        key = module.k_proj(x).view(len(x), -1, config.head_dim)  # [N, G, E]
        value = module.v_proj(x).view(len(x), -1, config.head_dim)
        if config.head_norm is not None:
            query, key = norm(module.q_norm, query), norm(module.k_norm, key)
        query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
        query = query if growth is None else query * growth
        keys, values = self.pool.keys[number], self.pool.values[number]
        keys.index_copy_(0, slots, key.to(keys.dtype))
        values.index_copy_(0, slots, value.to(values.dtype))
        joined = attend(query, Held(key, value, keys, values), self._looks[number]).flatten(1)  # [N, H · E]
        if config.gated:
            joined = joined * torch.sigmoid(module.gate_proj(x))
        projected: Tensor = module.o_proj(joined)
        return projected

    def _attend_latent(
        self,
        number: int,
        module: LatentAttention,
        x: Tensor,
        cosines: Tensor,
        sines: Tensor,
        growth: Tensor | None,
        slots: Tensor,
        attend: Attend,
    ) -> Tensor:
        """All heads over one key and value head, the latents: what each head makes of them is moved into its query and
        out of its answer (`LatentAttention` says why that is the same)."""
        latent = module.latent
        query = module._query(x[None])[0].transpose(0, 1)  # [N, H, P + R]
        each = module.kv_up_proj.weight.view(module.config.heads, -1, latent.rank)
        into, out = each[:, : latent.plain_dim], each[:, latent.plain_dim :]  # [H, P, C], [H, V, C]
        plain = torch.einsum("nhp,hpc->nhc", query[..., : latent.plain_dim], into)
        query = torch.cat((plain, rotate(query[..., latent.plain_dim :], cosines, sines)), -1)  # [N, H, C + R]
        query = query if growth is None else query * growth
        short = module.kv_down_proj(x)[:, None]  # [N, 1, C + R]
        rotary = rotate(short[..., latent.rank :], cosines, sines)
        key = torch.cat((norm(module.kv_norm, short[..., : latent.rank]), rotary), -1)
        store, width = self.pool.keys[number], key.shape[2]
        store.index_copy_(0, slots, functional.pad(key, (0, store.shape[2] - width)).to(store.dtype))
        held = Held(key, key[..., : latent.rank], store[..., :width], store[..., : latent.rank])
        attended = attend(query, held, self._looks[number])  # [N, H, C]
        projected: Tensor = module.o_proj(torch.einsum("nhc,hvc->nhv", attended, out).flatten(1))
        return projected


def norm(module: torch.nn.Module, x: Tensor) -> Tensor:
    """A norm of the reference; on a GPU the root-mean-square one in a single kernel."""
    if isinstance(module, RmsNorm) and x.device.type == "cuda":
        weight = module.weight.to(x.dtype)
        return functional.rms_norm(x, weight.shape, weight, module.epsilon)
    normed: Tensor = module(x)
    return normed


def _look(layer: Layer) -> Look:
    config = layer.config.attention
    sinks = layer.attention.sinks if config.sinks else None
    assert sinks is None or isinstance(sinks, Tensor)
    return Look(scale=config.softmax_scale, window=config.window, sinks=sinks)
