"""A checkpoint's weights on a GPU, tensor by tensor: the host never holds more than one. Packs as they come.

`int8` and `fp8` (a scale for each output), `fp8-block` (one for each 128 inputs of an output) and `int4` (a scale and a
zero for each 32) pack every projection of a layer and every expert; where a matrix does not divide so, `int4` packs it
as `int8`, and `fp8-block` leaves it. Routers, norms, embeddings and the head stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.decoder import Decoder
from model.errors import UsageError
from model.experts.offload import CudaMover, PlainMover, offload
from model.experts.projection import QuantizedProjection
from model.experts.quantized import PACKED, QuantizedStack, quantize_stack
from model.experts.weights import Stack
from model.linear import GROUP
from model.packer import is_packed
from model.parallel.followers import Followers
from model.parallel.shard import Part

_GROUPS = {"fp8-block": 128, "int4": GROUP}
"""Inputs of an output that share a scale; in other formats all do."""
_HOST = torch.device("cpu")
_WEIGHTS_SHARE = 0.85
"""Of a GPU's free memory, where experts take turns in it; the rest is for keys, values and products."""
_FP8_UNITS = (8, 9)
"""From this compute capability on Triton reads e4m3."""
_PRECISE = ("step_bias", "rate_log", "skip", "head_weights.weight", "rope_exponents")
"""What steers a recurrent state's fading, what chooses tokens, and how fast they turn: small, and decides much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedOnDevice:
    """A model whose weights lie on `reference`'s device, for `model.paged` to run; or a part of one, of which
    `followers` compute the others."""

    reference: Decoder
    config: ModelConfig
    parameters: int
    quantization: str
    followers: Followers | None = None

    @property
    def device(self) -> torch.device:
        return self.reference.embedding.weight.device


def check_format(quantize: str, device: torch.device) -> str:
    """The format that a GPU serves for what was asked: `none`, or a packed one. Raises `UsageError` for what this one's
    kernels cannot read."""
    if quantize.startswith("fp8") and device.type == "cuda" and torch.cuda.get_device_capability(device) < _FP8_UNITS:
        raise UsageError(
            "This GPU has no units for fp8, which came with Ada and Hopper (compute capability 8.9).",
            hint="Use --quantize int8, which takes as much memory.",
        )
    return "none" if quantize == "auto" else quantize


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory for weights: all of them, and the routed experts among them."""

    whole_bytes: int
    expert_bytes: int


def weigh(config: ModelConfig, quantize: str, dtype: torch.dtype, *, part: Part | None = None) -> Needs:
    """What a model, or a part of it, takes in a format that `check_format` gave; scales included."""
    whole = experts = 0.0
    with torch.device("meta"):
        weights = Decoder(config).state_dict()
    for name, weight in weights.items():
        weight = weight if part is None else part.cut(config, name, weight)
        each = float(dtype.itemsize)
        packed = _format(name, weight, quantize)
        if packed is not None:
            scales = 4 / _GROUPS.get(packed, weight.shape[-1])  # one of four bytes, or one and a zero of two each
            each = (0.5 if packed == "int4" else 1) + scales
        whole += weight.numel() * each
        experts += weight.numel() * each if _is_routed(name) else 0
    return Needs(int(whole), int(experts))


def plan_slots(config: ModelConfig, quantize: str, dtype: torch.dtype, room_bytes: int) -> int | None:
    """How many experts of each layer lie on the device where not all fit; None: all do, or there are none.

    0: not even those that one token chooses do. Some room is left for keys and values.
    """
    needs = weigh(config, quantize, dtype)
    routers = [layer.mlp.router for layer in config.layers if layer.mlp.router is not None]
    if needs.whole_bytes <= room_bytes or not routers:
        return None
    experts = max(router.experts for router in routers)
    left_bytes = room_bytes * _WEIGHTS_SHARE - (needs.whole_bytes - needs.expert_bytes)
    slots = int(left_bytes // (needs.expert_bytes / experts))
    return min(slots, experts) if slots >= max(router.chosen for router in routers) else 0


def fill_on_device(
    config: ModelConfig,
    weights: Iterable[tuple[str, Tensor]],
    *,
    device: torch.device,
    dtype: torch.dtype,
    quantize: str,
    slots: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Decoder:
    """A decoder in evaluation mode on `device`. `weights` must be all of them; who reads them checks that.

    Norms are kept in `dtype`, which GPU kernels want; routers, and what else decides much, in float32. With
    `slots`, experts stay in host memory, and so many of each layer lie on the device (`model.experts.offload`).
    `progress` gets the fraction done.
    """
    with torch.device("meta"):
        decoder = Decoder(config)
    total = len(decoder.state_dict())
    for done, (name, weight) in enumerate(weights, 1):
        away = slots is not None and _is_routed(name)
        place = _HOST if away else device
        pinned = away and device.type == "cuda"
        packed = _format(name, weight, quantize)
        if packed is not None:
            _pack(decoder, name, weight.to(place, dtype), packed, pinned=pinned)
        else:
            owner, _, attribute = name.rpartition(".")
            kept = torch.float32 if ".router." in name or name.endswith(_PRECISE) else dtype
            own = weight.to(place, kept, copy=True)
            own = own.pin_memory() if pinned else own
            decoder.get_submodule(owner).register_parameter(attribute, nn.Parameter(own, requires_grad=False))
        if progress is not None:
            progress(done / total)
    if slots is not None:
        mover = CudaMover(device) if device.type == "cuda" else PlainMover()
        offload(list(decoder.layers), slots=slots, device=device, mover=mover)
    return decoder.eval()


def _is_routed(name: str) -> bool:
    """Is it a stack of routed experts, or their biases?"""
    owner, _, attribute = name.rpartition(".")
    parts = ("gate_proj", "up_proj", "down_proj", "gate_bias", "up_bias", "down_bias")
    return owner.endswith(".mlp") and attribute in parts


def _format(name: str, weight: Tensor, quantize: str) -> str | None:
    """What one weight is packed as; None: it stays as it is."""
    if quantize == "none" or not is_packed(name):
        return None
    if weight.shape[-1] % _GROUPS.get(quantize, 1) == 0:
        return quantize
    return "int8" if quantize == "int4" else None


def _pack(decoder: Decoder, name: str, weight: Tensor, quantize: str, *, pinned: bool) -> None:
    stack = Stack(weight=weight if weight.dim() == 3 else weight[None])
    packed = quantize_stack(stack, PACKED[quantize.removesuffix("-block")], group=_GROUPS.get(quantize))
    if pinned:
        assert packed.scale is not None
        packed = replace(packed, weight=packed.weight.pin_memory(), scale=packed.scale.pin_memory())
    owner, _, attribute = name.removesuffix(".weight").rpartition(".")
    module = decoder.get_submodule(owner)
    delattr(module, attribute)
    module.add_module(attribute, QuantizedStack(packed) if weight.dim() == 3 else QuantizedProjection(packed))
