"""The decoder as plain differentiable torch modules: the reference for every fast path, and what is trained.

Knows no sampling and no checkpoint format, and of a cache only that layers may have a past. Every projection but the
experts' is an `nn.Linear`, so that adapters can wrap it and later be merged into it.

Legend: B batch, T tokens, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import NO_MLP, AttentionConfig, LayerConfig, ModelConfig, StateSpaceConfig
from model.layers.attention import Attention, Past
from model.layers.delta import Delta
from model.layers.indexed import Handed, IndexedAttention
from model.layers.latent import LatentAttention
from model.layers.mixture import make_mlp
from model.layers.norm import make_norm
from model.layers.recurrent import Memory
from model.layers.rope import query_growth, rope_table
from model.layers.state_space import StateSpace


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); or both from one norm, side by side.

    In place of attention there may be a recurrent mixer, and there may be no MLP.
    """

    def __init__(self, hidden: int, config: LayerConfig) -> None:
        super().__init__()
        self.config = config
        self.attention_norm = make_norm(hidden, config.norm)
        self.attention: nn.Module
        self.mixer: nn.Module
        if not isinstance(config.mixer, AttentionConfig):
            recurrent = StateSpace if isinstance(config.mixer, StateSpaceConfig) else Delta
            self.mixer = recurrent(hidden, config.mixer, config.norm)  # type: ignore[arg-type]
        elif config.mixer.latent is None:
            self.attention = Attention(hidden, config.mixer)
        else:
            latent = LatentAttention if config.mixer.index is None else IndexedAttention
            self.attention = latent(hidden, config.mixer, config.norm)
        if config.mlp != NO_MLP:
            if not config.parallel:
                self.mlp_norm = make_norm(hidden, config.norm)
            self.mlp = make_mlp(hidden, config.mlp)

    def forward(
        self,
        x: Tensor,
        *,
        cosines: Tensor | None,
        sines: Tensor | None,
        mask: Tensor | None,
        past: Past | Memory | None = None,
        growth: Tensor | None = None,
        dtype: torch.dtype | None = None,
        handed: Handed | None = None,
    ) -> Tensor:
        """x [B, T, D] to [B, T, D]; the rest as `Attention.forward` has it. Recurrent mixers need `past` alone.

        `dtype` is what is computed in, where the residual is wider. `handed` is for layers that index.
        """
        scale = self.config.residual_scale
        normed = self.attention_norm(x if dtype is None else x.to(dtype))
        if self.config.wide_residual:
            x = x.float()
        if self.config.is_attention:
            indexes = self.config.attention.index is not None
            attend = partial(self.attention, handed=handed) if indexes else self.attention
            mixed: Tensor = attend(normed, cosines=cosines, sines=sines, mask=mask, past=past, growth=growth)
        else:
            mixed = self.mixer(normed, memory=past)
        if self.config.parallel:
            side: Tensor = self.mlp(normed)
            return x + (mixed + side) * scale
        x = x + mixed * scale
        if self.config.mlp == NO_MLP:
            return x
        fed: Tensor = self.mlp(self.mlp_norm(x))
        return x + fed * scale


class Decoder(nn.Module):
    """Token ids in, hidden states out; `head` turns those into logits where they are needed.

    Parameter names: `embedding.weight`, `layers.N.attention_norm.weight`, `layers.N.attention.{q,k,v,o}_proj.weight`,
    `layers.N.mlp_norm.weight`, `layers.N.mlp.{gate,up,down}_proj.weight`, `norm.weight`, and `lm_head.weight` where
    the embeddings are not tied; `layers.N.mixer.…` where the mixer is recurrent; `rope_exponents` where these are
    learned; more where the configuration has more
    (`model.checkpoint.shapes` lists all).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.hidden)
        self.layers = nn.ModuleList(Layer(config.hidden, layer) for layer in config.layers)
        self.norm = make_norm(config.hidden, config.norm)
        untied = nn.Linear(config.hidden, config.vocabulary, bias=config.head_bias)
        self.lm_head = None if config.tied_embeddings else untied
        rope = config.learned_rope
        if rope is not None:
            self.rope_exponents = nn.Parameter(torch.zeros(rope.dimensions // 2))

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        past: Sequence[Past | Memory] | None = None,
    ) -> Tensor:
        """Hidden states after the last norm, [B, T, D], for token ids [B, T].

        `positions` [B, T] default to 0 … T−1. `documents` [B, T] numbers the documents packed into each row: a token
        sees the earlier tokens of its own document only. Padding is a document too (−1, say): it sees itself alone.
        Without `documents`, a row is one document, and padding belongs at its end. With `past`, one for each layer,
        the tokens continue what it holds: `positions` must then be given, be contiguous and the same in every row.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        start = 0 if past is None else int(positions[0, 0])
        x = self.embedding(tokens)
        if self.config.embedding_scale != 1.0:
            x = x * self.config.embedding_scale
        tables: dict[object, tuple[Tensor, Tensor]] = {}
        masks: dict[int | None, Tensor | None] = {}
        handed = Handed()
        for index, (layer, config) in enumerate(zip(self.layers, self.config.layers, strict=True)):
            memory = None if past is None else past[index]
            if not isinstance(config.mixer, AttentionConfig):
                assert documents is None, "a state does not know where a document ends"
                x = layer(x, cosines=None, sines=None, mask=None, past=memory, dtype=self.embedding.weight.dtype)
                continue
            rope, window = config.mixer.rope, config.mixer.window
            if rope not in tables:
                cosines, sines = rope_table(rope, positions, self.rope_exponents if rope.learned else None)  # [B, T, R]
                tables[rope] = (cosines[:, None].to(x.dtype), sines[:, None].to(x.dtype))
            if window not in masks:
                masks[window] = visible(tokens, start=start, window=window, documents=documents)
            cosines, sines = tables[rope]
            growth = None
            if config.mixer.growth is not None:
                growth = query_growth(config.mixer.growth, positions)[:, None, :, None].to(x.dtype)
            mask = masks[window]
            x = layer(x, cosines=cosines, sines=sines, mask=mask, past=memory, growth=growth, handed=handed)
        normed: Tensor = self.norm(x)
        return normed.to(self.embedding.weight.dtype)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., D]."""
        logits = functional.linear(hidden, self.embedding.weight) if self.lm_head is None else self.lm_head(hidden)
        logits = logits if self.config.logit_scale == 1.0 else logits * self.config.logit_scale
        cap = self.config.logit_cap
        return logits if cap is None else torch.tanh(logits / cap) * cap


def visible(tokens: Tensor, *, start: int, window: int | None, documents: Tensor | None) -> Tensor | None:
    """[B or 1, 1, T, start + T], true where a query sees a key; None where plain causal attention says the same.

    `tokens` [B, T] come behind `start` earlier ones.
    """
    count = tokens.shape[1]
    if documents is None and start == 0 and (window is None or count <= window):
        return None
    queries = torch.arange(start, start + count, device=tokens.device)[:, None]
    keys = torch.arange(start + count, device=tokens.device)[None, :]
    seen = keys <= queries
    if window is not None:
        seen = seen & (keys > queries - window)
    return seen[None, None] if documents is None else packing_mask(documents) & seen


def packing_mask(documents: Tensor) -> Tensor:
    """[B, 1, T, T], true where the query (second to last) sees the key (last): same document, not later."""
    tokens = documents.shape[1]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=documents.device).tril()
    same = documents[:, :, None] == documents[:, None, :]
    return (same & causal)[:, None]
