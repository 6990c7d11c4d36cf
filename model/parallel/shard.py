"""One process's part of a decoder: heads and dense blocks by rows (Shoeybi et al. 2019), experts whole.

Every process holds embeddings, norms, routers and the head, and what chooses the tokens that are seen; of each layer
its heads, with their recurrent states, its part of dense blocks, and its experts. What mixer and MLP give is summed
over the processes, and is then the same in all of them, and so is what they choose. Any backend of torch.distributed:
gloo on CPUs, NCCL on GPUs (not yet measured).

Legend: W processes, H heads, G key/value heads, E head dimensions, I intermediate, X experts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.config import NO_MLP, AttentionConfig, LayerConfig, ModelConfig, RecurrentConfig
from model.decoder import Decoder, Layer
from model.errors import UsageError
from model.experts.compute import compute_experts
from model.layers.attention import Attention
from model.layers.delta import Delta
from model.layers.latent import LatentAttention
from model.layers.mixture import Mixture
from model.layers.state_space import StateSpace
from model.parallel.recurrent import RecurrentPart

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "gate_proj", "q_up_proj", "kv_up_proj")
_ATTENTION_ROWS = (*_PROJECTIONS, "sinks", "growth.slope", "growth.base")
_MLP_ROWS = ("gate_proj", "up_proj", "shared.gate_proj", "shared.up_proj")
_EXPERT_BIASES = ("gate_bias", "up_bias", "down_bias")
_ROWS = {f"attention.{name}" for name in _ATTENTION_ROWS} | {f"mlp.{name}" for name in _MLP_ROWS + _EXPERT_BIASES}
"""Cut by what they give, or by heads or experts; a stack of experts, which has three dimensions, always is."""
_COLUMNS = {"attention.o_proj", "mixer.out_proj", "mlp.down_proj", "mlp.shared.down_proj"}
"""Cut by what they read; their bias is added once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Number `rank` of `processes` parts of any decoder that `check_shardable` lets pass."""

    rank: int
    processes: int

    def cut(self, config: ModelConfig, name: str, weight: Tensor) -> Tensor:
        """This part of one of the weights of the whole decoder that `config` describes: a copy, so that the whole can
        be freed."""
        _, number, owner = name.split(".", 2) if name.startswith("layers.") else ("", "", name)
        is_bias = owner.endswith(".bias")
        owner = owner.removesuffix(".weight").removesuffix(".bias")
        if owner in _ROWS or (owner in _COLUMNS and weight.dim() == 3):
            return weight.chunk(self.processes, 0)[self.rank].clone()
        if owner.startswith("mixer.") and owner not in _COLUMNS:
            mixer = config.layers[int(number)].mixer
            assert isinstance(mixer, RecurrentConfig)
            return self._recurrent(mixer).cut(owner.removeprefix("mixer."), weight)
        if owner not in _COLUMNS:
            return weight
        if is_bias:
            return weight if self.rank == 0 else torch.zeros_like(weight)
        return weight.chunk(self.processes, 1)[self.rank].clone()

    @torch.no_grad()
    def join(self, decoder: Decoder, *, group: dist.ProcessGroup | None = None) -> None:
        """Have a decoder that was filled with this part's weights add up what all parts give, over `group`."""
        configs = []
        for layer in decoder.layers:
            assert isinstance(layer, Layer)
            if isinstance(layer.config.mixer, RecurrentConfig):
                mixer = layer.mixer
                assert isinstance(mixer, StateSpace | Delta)
                self._recurrent(layer.config.mixer).join(mixer, group)
                mixer.out_proj = SumAcross(mixer.out_proj, group)  # type: ignore[assignment]
                layer.config = replace(layer.config, mixer=mixer.config)
            else:
                attention = layer.attention
                assert isinstance(attention, Attention | LatentAttention)
                attention.config = self._attention(layer.config.attention)
                attention.o_proj = SumAcross(attention.o_proj, group)  # type: ignore[assignment]
                layer.config = replace(layer.config, mixer=attention.config)
            configs.append(layer.config)
            if layer.config.mlp != NO_MLP:
                layer.mlp = SumAcross(self._mlp(layer.mlp), group)
        decoder.config = replace(decoder.config, layers=tuple(configs))

    def _mlp(self, mlp: nn.Module) -> nn.Module:
        if not isinstance(mlp, Mixture):
            return mlp
        return SomeExperts(mlp, first=self.rank * (mlp.router.config.experts // self.processes))

    def _recurrent(self, mixer: RecurrentConfig) -> RecurrentPart:
        return RecurrentPart(whole=mixer, rank=self.rank, processes=self.processes)

    def _attention(self, config: AttentionConfig) -> AttentionConfig:
        """One part's heads. Latent attention remembers the same in every process."""
        kv_heads = config.kv_heads if config.latent is not None else config.kv_heads // self.processes
        return replace(config, heads=config.heads // self.processes, kv_heads=kv_heads)


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


def check_shardable(config: ModelConfig, processes: int) -> None:
    """Raises `UsageError` for a number of processes that heads, blocks or experts cannot be shared by."""
    for layer in config.layers:
        for what, count in _shared(layer).items():
            if count % processes:
                raise UsageError(
                    f"{count} {what} cannot be shared by {processes} processes.",
                    hint="Use a number of processes that divides them.",
                )


def _shared(layer: LayerConfig) -> dict[str, int]:
    """What a layer's parts are counted in, and how many there are."""
    if isinstance(layer.mixer, RecurrentConfig):
        shared = {"recurrent heads": layer.mixer.heads}
    else:
        shared = {"attention heads": layer.mixer.heads}
        if layer.mixer.latent is None:
            shared["key/value heads"] = layer.mixer.kv_heads
    if layer.mlp.router is None:
        shared["numbers of the MLP"] = layer.mlp.intermediate
    else:
        shared["experts"] = layer.mlp.router.experts
    return shared | {"numbers of the shared expert": layer.mlp.shared}
