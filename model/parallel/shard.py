"""A decoder cut for one of several processes: heads and dense blocks by rows (Shoeybi et al. 2019), experts whole.

Every process holds embeddings, norms, routers and the head; of each layer its heads, its part of dense blocks, and its
experts. What attention and MLP give is summed over the processes, and is then the same in all of them. Any backend of
torch.distributed: gloo on CPUs, NCCL on GPUs (not yet measured).

Legend: W processes, H heads, G key/value heads, E head dimensions, I intermediate, X experts.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.config import AttentionConfig, LayerConfig, MlpConfig
from model.decoder import Decoder, Layer
from model.errors import UsageError
from model.experts.compute import compute_experts
from model.layers.attention import Attention
from model.layers.latent import LatentAttention
from model.layers.mixture import Mixture
from model.layers.mlp import Mlp


class SumAcross(nn.Module):
    """What a module gives in each process, added up."""

    def __init__(self, inner: nn.Module, group: dist.ProcessGroup | None) -> None:
        super().__init__()
        self.inner = inner
        self._group = group

    def forward(self, x: Tensor) -> Tensor:
        part: Tensor = self.inner(x)
        dist.all_reduce(part, group=self._group)
        return part


class SomeExperts(nn.Module):
    """A `Mixture` whose experts are `first` … `first` + those it has, of all that the router knows."""

    def __init__(self, mixture: Mixture, *, first: int) -> None:
        super().__init__()
        self.mixture = mixture
        self._first = first

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        shares, chosen = self.mixture.router(rows)
        stacks = self.mixture.stacks()
        assert stacks is not None
        own = chosen - self._first
        own = torch.where((own >= 0) & (own < stacks.experts), own, stacks.experts)  # the others are nobody's here
        total = compute_experts(stacks, rows, shares, own)
        if self.mixture.shared is not None:
            gate, served = self.mixture.shared_gate, self.mixture.shared(rows)
            total = total + (served if gate is None else served * gate(rows).sigmoid())
        return total.view_as(x)


def check_shardable(decoder: Decoder, processes: int) -> None:
    """Raises `UsageError` for a number of processes that heads, blocks or experts cannot be shared by."""
    for layer in decoder.config.layers:
        if not layer.is_attention:
            raise UsageError("Recurrent layers are not cut over processes.", hint="Use one process.")
        shared = {"attention heads": layer.attention.heads}
        if layer.attention.latent is None:
            shared["key/value heads"] = layer.attention.kv_heads
        shared["experts" if layer.mlp.router else "numbers of the MLP"] = (
            layer.mlp.router.experts if layer.mlp.router else layer.mlp.intermediate
        )
        shared["numbers of the shared expert"] = layer.mlp.shared
        for what, count in shared.items():
            if count % processes:
                raise UsageError(
                    f"{count} {what} cannot be shared by {processes} processes.",
                    hint="Use a number of processes that divides them.",
                )


@torch.no_grad()
def shard(decoder: Decoder, *, rank: int, processes: int, group: dist.ProcessGroup | None = None) -> None:
    """Keep this process's part of a decoder, in place. Raises `UsageError` where it cannot be cut so."""
    check_shardable(decoder, processes)
    configs = []
    for layer in decoder.layers:
        assert isinstance(layer, Layer)
        _cut_attention(layer.attention, rank, processes)
        layer.attention.o_proj = SumAcross(layer.attention.o_proj, group)  # type: ignore[arg-type]
        if isinstance(layer.mlp, Mixture):
            layer.mlp = SumAcross(_cut_mixture(layer.mlp, rank, processes), group)
        else:
            assert isinstance(layer.mlp, Mlp)
            _cut_mlp(layer.mlp, rank, processes)
            layer.mlp = SumAcross(layer.mlp, group)
        layer.config = _part(layer.config, processes)
        configs.append(layer.config)
    decoder.config = replace(decoder.config, layers=tuple(configs))


def _part(config: LayerConfig, processes: int) -> LayerConfig:
    """The table's row for one part. Latent attention remembers the same in every process."""
    attention = config.attention
    kv_heads = attention.kv_heads if attention.latent is not None else attention.kv_heads // processes
    return replace(config, mixer=replace(attention, heads=attention.heads // processes, kv_heads=kv_heads))


def _cut_attention(module: nn.Module, rank: int, processes: int) -> None:
    if isinstance(module, LatentAttention):
        last = module.q_proj if module.latent.query_rank is None else module.q_up_proj
        _cut_rows(last, rank, processes)
        _cut_rows(module.kv_up_proj, rank, processes)
    else:
        assert isinstance(module, Attention)
        for name in ("q_proj", "k_proj", "v_proj", *(("gate_proj",) if module.config.gated else ())):
            _cut_rows(getattr(module, name), rank, processes)
        if module.config.sinks:
            module.sinks = nn.Parameter(_slice(module.sinks, 0, rank, processes))
    config: AttentionConfig = module.config
    kv_heads = config.kv_heads if config.latent is not None else config.kv_heads // processes
    module.config = replace(config, heads=config.heads // processes, kv_heads=kv_heads)
    assert isinstance(module.o_proj, nn.Linear)
    _cut_columns(module.o_proj, rank, processes)


def _cut_mlp(module: Mlp, rank: int, processes: int) -> None:
    if module.config.gated:
        _cut_rows(module.gate_proj, rank, processes)
    _cut_rows(module.up_proj, rank, processes)
    _cut_columns(module.down_proj, rank, processes)


def _cut_mixture(module: Mixture, rank: int, processes: int) -> SomeExperts:
    experts = module.router.config.experts // processes
    config: MlpConfig = module.config
    biases = ("gate_bias", "up_bias", "down_bias") if config.bias else ()
    for name in ("gate_proj", "up_proj", "down_proj", *biases):
        stack = getattr(module, name)
        if not isinstance(stack, Tensor):
            raise UsageError("Packed experts are not cut over processes.", hint="Leave quantize at none.")
        setattr(module, name, nn.Parameter(_slice(stack, 0, rank, processes)))
    if module.shared is not None:
        _cut_mlp(module.shared, rank, processes)
    return SomeExperts(module, first=rank * experts)


def _cut_rows(linear: nn.Linear, rank: int, processes: int) -> None:
    """A part of the outputs."""
    linear.weight = nn.Parameter(_slice(linear.weight, 0, rank, processes))
    if linear.bias is not None:
        linear.bias = nn.Parameter(_slice(linear.bias, 0, rank, processes))


def _cut_columns(linear: nn.Linear, rank: int, processes: int) -> None:
    """A part of the inputs; the bias is added once."""
    linear.weight = nn.Parameter(_slice(linear.weight, 1, rank, processes))
    if linear.bias is not None and rank > 0:
        linear.bias = nn.Parameter(torch.zeros_like(linear.bias))


def _slice(weight: Tensor, dimension: int, rank: int, processes: int) -> Tensor:
    """A copy, so that the whole can be freed."""
    return weight.chunk(processes, dimension)[rank].clone()
