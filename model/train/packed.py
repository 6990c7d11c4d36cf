"""The decoder over packed documents of their exact lengths: no padding, attention one document at a time.

Computes what `model.decoder.Decoder` computes with `documents` (a test holds them equal), and learns only what
`model.train.projection` learns. On a CPU the scores of one short document stay in the cache, which makes its
attention four times as fast as a padded batch's.

Legend: N tokens of all documents, T of one, D hidden, H query heads, G key/value heads, E head dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.decoder import Decoder, Layer
from model.layers.attention import Attention
from model.layers.mlp import Mlp
from model.layers.rope import rope_table
from model.train.experts import ExpertMlp
from model.train.projection import FullProjection, LowRankProjection, Rounding


class PackedDecoder(nn.Module):
    """A decoder whose projections are replaced by trained ones; embedding, head and norms stay frozen in bfloat16.

    `special_ids`: tokens whose embedding rows are trained too, since the base never learned a meaning for them.
    `rounding` is for low-rank updates: they are learned for the weights as they will be packed.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        rank: int | None,
        scale: float,
        special_ids: Sequence[int],
        seed: int,
        rounding: Rounding | None = None,
    ) -> None:
        super().__init__()
        self.balance = 0.0
        """Weight of the loss that keeps experts evenly used, where there are experts."""
        generator = torch.Generator().manual_seed(seed)
        self.special_ids = tuple(special_ids)
        embedding = decoder.embedding.weight
        self.special_rows = nn.Parameter(embedding[list(special_ids)].detach().float().clone())
        slots = torch.full((embedding.shape[0],), -1, dtype=torch.long, device=embedding.device)
        slots[list(special_ids)] = torch.arange(len(special_ids), device=embedding.device)
        self.register_buffer("_slots", slots, persistent=False)
        self._slots: Tensor
        for layer in decoder.layers:
            assert isinstance(layer, Layer)
            for module in (layer.attention, layer.mlp):
                for name, linear in list(module.named_children()):
                    if isinstance(linear, nn.Linear):
                        trained = _trained(linear, rank=rank, scale=scale, generator=generator, rounding=rounding)
                        setattr(module, name, trained)
        self.decoder = decoder
        for name, parameter in decoder.named_parameters():
            if name.endswith("norm.weight") or "embedding" in name or "lm_head" in name:
                parameter.requires_grad_(False)
                parameter.data = parameter.data.to(torch.bfloat16)
        self._rope: tuple[Tensor, Tensor] | None = None

    def refresh(self) -> None:
        """Bring the weights that the forward pass uses up to date. Call after each optimizer step."""
        for module in self.modules():
            if isinstance(module, LowRankProjection | FullProjection):
                module.refresh()

    def trained(self) -> dict[str, nn.Parameter]:
        """What is learned, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def low_rank_updates(self) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
        """Each projection's factors (a, b), under the decoder's names."""
        for name, module in self.decoder.named_modules():
            if isinstance(module, LowRankProjection):
                yield name, (module.a.detach(), module.b.detach())

    def forward(
        self,
        tokens: Tensor,
        lengths: Sequence[int],
        *,
        positions: Tensor | None = None,
        masks: Sequence[Tensor | None] = (),
    ) -> Tensor:
        """Hidden states [N, D] after the last norm, for token ids [N] of documents of these lengths, end to end.

        Documents that are trees (`model.train.trees`) come with the `positions` [N] of their tokens and with `masks`,
        one [T, T] float32 for each document, or None for one whose tokens see all that stands before. CPU only.
        """
        cosines, sines = self._tables(max(lengths), tokens.device)
        if positions is None:
            positions = torch.cat([torch.arange(length, device=tokens.device) for length in lengths])
        cosines, sines = cosines[positions, None], sines[positions, None]  # [N, 1, E]
        bounds = list(pairwise([0, *torch.tensor(lengths).cumsum(0).tolist()]))
        x = self._embed(tokens)
        for layer in self.decoder.layers:
            x = _layer(layer, x, cosines, sines, bounds, masks)
        return _norm(self.decoder.norm, x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits [..., V]. Trained rows count as inputs only: their tokens are never an answer."""
        return self.decoder.head(hidden).float()

    def auxiliary(self) -> Tensor | float:
        """What the last forward pass adds to the loss: 0.0 for a dense model."""
        found = [layer.mlp.balance for layer in self.decoder.layers if isinstance(layer.mlp, ExpertMlp)]
        uneven = [one for one in found if one is not None]
        return self.balance * torch.stack(uneven).mean() if uneven else 0.0

    def _embed(self, tokens: Tensor) -> Tensor:
        x = functional.embedding(tokens, self.decoder.embedding.weight)
        slots = self._slots[tokens]
        places = (slots >= 0).nonzero().flatten()
        return x.index_put((places,), self.special_rows[slots[places]].to(x.dtype))

    def _tables(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._rope is None or self._rope[0].shape[0] < length:
            config = self.decoder.config.layers[0].attention.rope
            size = max(1024, length)
            cosines, sines = rope_table(config, torch.arange(size, device=device))
            self._rope = cosines.to(torch.bfloat16), sines.to(torch.bfloat16)
        return self._rope


def _trained(
    linear: nn.Linear, *, rank: int | None, scale: float, generator: torch.Generator, rounding: Rounding | None
) -> LowRankProjection | FullProjection:
    if rank is None:
        return FullProjection(linear.weight)
    return LowRankProjection(linear.weight, rank=rank, scale=scale, generator=generator, rounding=rounding)


def _layer(
    layer: nn.Module,
    x: Tensor,
    cosines: Tensor,
    sines: Tensor,
    bounds: list[tuple[int, int]],
    masks: Sequence[Tensor | None],
) -> Tensor:
    assert isinstance(layer, Layer)
    attention, mlp = layer.attention, layer.mlp
    assert isinstance(attention, Attention)
    size = attention.config.head_dim
    normed = _norm(layer.attention_norm, x)
    query = _rotate(attention.q_proj(normed).unflatten(-1, (-1, size)), cosines, sines)  # [N, H, E]
    key = _rotate(attention.k_proj(normed).unflatten(-1, (-1, size)), cosines, sines)  # [N, G, E]
    value = attention.v_proj(normed).unflatten(-1, (-1, size))
    attended = attend(query, key, value, bounds=bounds, masks=masks)
    x = x + attention.o_proj(attended.flatten(1))
    normed = _norm(layer.mlp_norm, x)
    fed: Tensor
    if isinstance(mlp, ExpertMlp):
        fed = mlp(normed)
    else:
        assert isinstance(mlp, Mlp)
        fed = mlp.down_proj(functional.silu(mlp.gate_proj(normed)) * mlp.up_proj(normed))
    return x + fed


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    weight, epsilon = norm.weight, norm.epsilon
    assert isinstance(weight, Tensor)
    assert isinstance(epsilon, float)
    return functional.rms_norm(x, (x.shape[-1],), weight, epsilon)


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-second, first), dim=-1) * sines


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, bounds: list[tuple[int, int]], masks: Sequence[Tensor | None] = ()
) -> Tensor:
    """Attention inside each document [start, end): q [N, H, E], k and v [N, G, E] to [N, H, E]. Causal, but for the
    documents that have a mask [T, T]."""
    if q.device.type == "cuda":
        assert not any(mask is not None for mask in masks)
        return _attend_on_gpu(q, k, v, bounds)
    out: Tensor = _Attention.apply(q, k, v, bounds, masks)  # type: ignore[no-untyped-call]
    return out


def _attend_on_gpu(q: Tensor, k: Tensor, v: Tensor, bounds: list[tuple[int, int]]) -> Tensor:
    """One flash kernel for all documents."""
    from torch.nn.attention.varlen import varlen_attn

    starts = torch.tensor([0, *(end for _, end in bounds)], dtype=torch.int32, device=q.device)
    longest = max(end - start for start, end in bounds)
    group = q.shape[1] // k.shape[1]
    keys, values = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    out = varlen_attn(q, keys, values, starts, starts, longest, longest, window_size=(-1, 0))
    assert isinstance(out, Tensor)  # a pair only where statistics are asked for
    return out


class _Attention(torch.autograd.Function):
    """Softmax attention inside each document, causal or masked: q [N, H, E], k and v [N, G, E] to [N, H, E]."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bounds: list[tuple[int, int]], masks: Sequence[Tensor | None]
    ) -> Tensor:
        out, saved = torch.empty_like(q), []
        longest = max(end - start for start, end in bounds)
        hidden = torch.full((longest, longest), float("-inf"), device=q.device).triu(1)
        ctx.scale = q.shape[-1] ** -0.5
        for (start, end), mask in zip(bounds, masks or [None] * len(bounds), strict=True):
            size = end - start
            queries, keys, values = (
                _grouped(q[start:end], k),
                k[start:end].transpose(0, 1),
                v[start:end].transpose(0, 1),
            )
            unseen = hidden[:size, :size] if mask is None else mask
            scores = torch.bmm(queries, keys.transpose(1, 2)).float().view(-1, size, size)  # [H, T, T]
            weights = scores.mul_(ctx.scale).add_(unseen).softmax(-1).to(q.dtype)
            weights = weights.view(k.shape[1], -1, size)  # [G, H / G · T, T]
            out[start:end] = torch.bmm(weights, values).view(-1, size, q.shape[-1]).transpose(0, 1)
            saved.append(weights)
        ctx.save_for_backward(q, k, v, *saved)
        ctx.bounds = bounds
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *saved = ctx.saved_tensors
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for (start, end), weights in zip(ctx.bounds, saved, strict=True):
            size = end - start
            queries, keys, values = (
                _grouped(q[start:end], k),
                k[start:end].transpose(0, 1),
                v[start:end].transpose(0, 1),
            )
            grad = _grouped(grads[0][start:end], k)
            grad_v[start:end] = torch.bmm(weights.transpose(1, 2), grad).transpose(0, 1)
            inner = torch.bmm(grad, values.transpose(1, 2)).float()
            wide = weights.float()
            slope = wide * (inner - (inner * wide).sum(-1, keepdim=True))  # of the softmax
            slope = slope.mul_(ctx.scale).to(q.dtype)
            grad_q[start:end] = torch.bmm(slope, keys).view(-1, size, q.shape[-1]).transpose(0, 1)
            grad_k[start:end] = torch.bmm(slope.transpose(1, 2), queries).transpose(0, 1)
        return grad_q, grad_k, grad_v, None, None


def _grouped(q: Tensor, k: Tensor) -> Tensor:
    """[T, H, E] to [G, H / G · T, E]: the queries of one key/value head side by side."""
    return q.transpose(0, 1).reshape(k.shape[1], -1, q.shape[-1])
