"""A trained dense model made into a mixture of experts (Sparse Upcycling, Komatsuzaki et al. 2022), and its file.

The feed-forward block of every second layer is copied into experts, which from then on learn low-rank updates; a new
router chooses between them; all else stays as it was. The file holds routers and updates, and belongs to a base and an
adapter of it. It knows no serving: `mixed_table` and `mixed_weights` are what a decoder is filled with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import ModelConfig, RouterConfig
from model.decoder import Decoder, Layer
from model.errors import AdapterError
from model.train.experts import PROJECTIONS, ExpertMlp
from model.train.packed import PackedDecoder
from model.train.projection import LowRankProjection

FORMAT = "tersely-mixture-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcycleConfig:
    """The mixture's shape: `experts` in every `every`-th layer, of which each token is computed by `chosen`."""

    experts: int = 4
    chosen: int = 2
    every: int = 2
    rank: int = 16
    scale: float = 1.0
    balance: float = 0.01
    """Weight of the loss that keeps experts evenly used."""

    @property
    def router(self) -> RouterConfig:
        """For the reference decoder's table."""
        return RouterConfig(experts=self.experts, chosen=self.chosen, normalize=True)

    def upcycled(self, layer: int) -> bool:
        """Whether the layer of that number is a mixture."""
        return layer % self.every == self.every - 1


def upcycle(model: PackedDecoder, config: UpcycleConfig, *, seed: int) -> None:
    """Freeze the model as it is, and put experts into its layers, in place."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for number, layer in enumerate(model.decoder.layers):
        if config.upcycled(number):
            assert isinstance(layer, Layer)
            weights = {name: _merged(getattr(layer.mlp, name)) for name in PROJECTIONS}
            layer.mlp = ExpertMlp(
                weights, router=config.router, rank=config.rank, scale=config.scale, generator=generator
            )
    model.balance = config.balance


@torch.no_grad()
def _merged(projection: LowRankProjection) -> Tensor:
    return torch.addmm(projection.base, projection.b, projection.a, alpha=projection.scale)


@dataclass(frozen=True, slots=True)
class MixtureFile:
    """What an upcycling run learned. `tensors`, by names such as `layers.1.mlp.router.weight` and
    `layers.1.mlp.experts.0.up_proj.a`."""

    base_sha256: str
    adapter_sha256: str
    config: UpcycleConfig
    tensors: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write the file: updates in bfloat16, routers in float32."""
        info = {"base_sha256": self.base_sha256, "adapter_sha256": self.adapter_sha256, "config": asdict(self.config)}
        packed = {
            name: tensor.detach().to("cpu", torch.float32 if "router" in name else torch.bfloat16).contiguous()
            for name, tensor in self.tensors.items()
        }
        partial = path.with_suffix(".partial")
        save_file(packed, partial, metadata={"format": FORMAT, "info": json.dumps(info)})
        partial.replace(path)


def is_mixture(path: Path) -> bool:
    """Whether a file says that it is one; what cannot be read is for its reader to refuse."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, SafetensorError):
        return False


def load_mixture(path: Path) -> MixtureFile:
    """Read what `save` wrote. Raises `AdapterError` for a file that is missing, damaged or of another kind."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} is not a readable mixture: {error}", hint="Train it again.") from error
    if metadata.get("format") != FORMAT:
        raise AdapterError(f"{path} is not a mixture of tersely.", hint="Give a file that `--experts` wrote.")
    info = json.loads(metadata["info"])
    config = UpcycleConfig(**info["config"])
    return MixtureFile(info["base_sha256"], info["adapter_sha256"], config, tensors)


def export_mixture(checkpoint: Path, *, base: Path, adapter: Path, config: UpcycleConfig) -> MixtureFile:
    """What an upcycling run had learned when `checkpoint` was written."""
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    tensors = {name.removeprefix("decoder."): tensor for name, tensor in state["trained"].items()}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (base, adapter)]
    return MixtureFile(digests[0], digests[1], config, tensors)


def mixed_table(dense: ModelConfig, config: UpcycleConfig) -> ModelConfig:
    """The table of a mixture, from the dense model's."""
    layers = tuple(
        replace(layer, mlp=replace(layer.mlp, router=config.router)) if config.upcycled(number) else layer
        for number, layer in enumerate(dense.layers)
    )
    return replace(dense, layers=layers)


@torch.no_grad()
def mixed_weights(dense: Iterable[tuple[str, Tensor]], mixture: MixtureFile) -> Iterator[tuple[str, Tensor]]:
    """The reference decoder's weights of a mixture, in float32, from those of the dense model with the adapter merged,
    one at a time: a router comes before its experts, and these as stacks [X, rows, columns]."""
    for name, weight in dense:
        block, _, projection = name.removesuffix(".weight").rpartition(".")
        router = mixture.tensors.get(f"{block}.router.weight")
        if projection in PROJECTIONS and router is not None:
            if projection == PROJECTIONS[0]:
                yield f"{block}.router.weight", router.float()
            experts = range(mixture.config.experts)
            deltas = (_delta(mixture, f"{block}.experts.{expert}.{projection}") for expert in experts)
            yield f"{block}.{projection}", torch.stack([weight.float() + delta for delta in deltas])
        else:
            yield name, weight


def materialize(dense: Decoder, mixture: MixtureFile) -> Decoder:
    """The reference decoder of a mixture, from the dense one with the adapter merged (which is left as it is)."""
    with torch.device("meta"):
        decoder = Decoder(mixed_table(dense.config, mixture.config))
    decoder.load_state_dict(dict(mixed_weights(dense.state_dict().items(), mixture)), assign=True)
    return decoder.eval()


def _delta(mixture: MixtureFile, name: str) -> Tensor:
    a, b = mixture.tensors[f"{name}.a"].float(), mixture.tensors[f"{name}.b"].float()
    return mixture.config.scale * (b @ a)
