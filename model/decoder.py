"""The decoder as plain differentiable torch modules: the reference for every fast path, and what is trained.

Knows no cache, no sampling and no checkpoint format. Every projection is an `nn.Linear`, so that adapters can wrap
it and later be merged into it.

Legend: B batch, T tokens, D hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import LayerConfig, ModelConfig
from model.layers.attention import Attention
from model.layers.mlp import Mlp
from model.layers.norm import RmsNorm
from model.layers.rope import rope_table


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, hidden: int, config: LayerConfig) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(hidden, config.norm)
        self.attention = Attention(hidden, config.attention)
        self.mlp_norm = RmsNorm(hidden, config.norm)
        self.mlp = Mlp(hidden, config.mlp)

    def forward(self, x: Tensor, *, cosines: Tensor, sines: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, T, D] to [B, T, D]; the rest as `Attention.forward` has it."""
        x = x + self.attention(self.attention_norm(x), cosines=cosines, sines=sines, mask=mask)
        fed: Tensor = self.mlp(self.mlp_norm(x))
        return x + fed


class Decoder(nn.Module):
    """Token ids in, hidden states out; `head` turns those into logits where they are needed.

    Parameter names: `embedding.weight`, `layers.N.attention_norm.weight`, `layers.N.attention.{q,k,v,o}_proj.weight`,
    `layers.N.mlp_norm.weight`, `layers.N.mlp.{gate,up,down}_proj.weight`, `norm.weight`, and `lm_head.weight` where
    the embeddings are not tied.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.hidden)
        self.layers = nn.ModuleList(Layer(config.hidden, layer) for layer in config.layers)
        self.norm = RmsNorm(config.hidden, config.norm)
        self.lm_head = None if config.tied_embeddings else nn.Linear(config.hidden, config.vocabulary, bias=False)

    def forward(self, tokens: Tensor, *, positions: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """Hidden states after the last norm, [B, T, D], for token ids [B, T].

        `positions` [B, T] default to 0 … T−1. `documents` [B, T] numbers the documents packed into each row: a token
        sees the earlier tokens of its own document only. Padding is a document too (−1, say): it sees itself alone.
        Without `documents`, a row is one document, and padding belongs at its end.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        mask = None if documents is None else packing_mask(documents)
        x = self.embedding(tokens)
        tables: dict[object, tuple[Tensor, Tensor]] = {}
        for layer, config in zip(self.layers, self.config.layers, strict=True):
            rope = config.attention.rope
            if rope not in tables:
                cosines, sines = rope_table(rope, positions)  # [B, T, R]
                tables[rope] = (cosines[:, None].to(x.dtype), sines[:, None].to(x.dtype))
            cosines, sines = tables[rope]
            x = layer(x, cosines=cosines, sines=sines, mask=mask)
        normed: Tensor = self.norm(x)
        return normed

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., D]."""
        weight = self.embedding.weight if self.lm_head is None else self.lm_head.weight
        return functional.linear(hidden, weight)


def packing_mask(documents: Tensor) -> Tensor:
    """[B, 1, T, T], true where the query (second to last) sees the key (last): same document, not later."""
    tokens = documents.shape[1]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=documents.device).tril()
    same = documents[:, :, None] == documents[:, None, :]
    return (same & causal)[:, None]
