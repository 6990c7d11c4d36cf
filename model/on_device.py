"""A checkpoint's weights on a GPU, tensor by tensor: the host never holds more than one. Packs as they come.

`int8` and `fp8` (a scale for each output) and `fp8-block` (one for each 128 inputs of an output) pack every projection
of a layer and every expert; routers, norms, embeddings and the head stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.decoder import Decoder
from model.errors import UsageError
from model.experts.projection import QuantizedProjection
from model.experts.quantized import EIGHT_BITS, QuantizedStack, quantize_stack
from model.experts.weights import Stack

_BLOCK = 128
FORMATS = ("auto", "none", "int8", "fp8", "fp8-block")
_KEPT = ("kv_up_proj.weight",)
"""Cut in two and moved into queries and answers (latent attention)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedOnDevice:
    """A model whose weights lie on `reference`'s device, for `model.paged` to run."""

    reference: Decoder
    config: ModelConfig
    parameters: int
    quantization: str
    rows_agree: bool = False

    @property
    def device(self) -> torch.device:
        return self.reference.embedding.weight.device


def check_format(quantize: str) -> str:
    """The format that a GPU serves for what was asked: `none`, or one of eight bits. Raises `UsageError`."""
    if quantize not in FORMATS:
        raise UsageError(
            f"{quantize} is a format for the CPU's kernels.", hint=f"On a GPU, use one of {', '.join(FORMATS)}."
        )
    return "none" if quantize == "auto" else quantize


def needed_bytes(config: ModelConfig, quantize: str, dtype: torch.dtype) -> int:
    """Memory for the weights in a format that `check_format` gave; scales included."""
    with torch.device("meta"):
        weights = Decoder(config).state_dict()
    plain: int = sum(weight.numel() for name, weight in weights.items() if not _packs(name, weight, quantize))
    packed: int = sum(weight.numel() for name, weight in weights.items() if _packs(name, weight, quantize))
    return plain * dtype.itemsize + packed + packed * 4 // (_BLOCK if quantize == "fp8-block" else config.hidden)


def fill_on_device(
    config: ModelConfig,
    weights: Iterable[tuple[str, Tensor]],
    *,
    device: torch.device,
    dtype: torch.dtype,
    quantize: str,
    progress: Callable[[float], None] | None = None,
) -> Decoder:
    """A decoder in evaluation mode on `device`. `weights` must be all of them; who reads them checks that.

    Norms are kept in `dtype`, which GPU kernels want, and routers in float32. `progress` gets the fraction done.
    """
    with torch.device("meta"):
        decoder = Decoder(config)
    total = len(decoder.state_dict())
    for done, (name, weight) in enumerate(weights, 1):
        if _packs(name, weight, quantize):
            _pack(decoder, name, weight.to(device, dtype), quantize)
        else:
            owner, _, attribute = name.rpartition(".")
            kept = torch.float32 if ".router." in name else dtype
            own = weight.to(device, kept, copy=True)
            decoder.get_submodule(owner).register_parameter(attribute, nn.Parameter(own, requires_grad=False))
        if progress is not None:
            progress(done / total)
    return decoder.eval()


def _packs(name: str, weight: Tensor, quantize: str) -> bool:
    if quantize == "none" or not name.startswith("layers.") or name.endswith(_KEPT):
        return False
    if not name.endswith(("_proj.weight", "_proj")) or ".router." in name:
        return False
    return quantize != "fp8-block" or weight.shape[-1] % _BLOCK == 0


def _pack(decoder: Decoder, name: str, weight: Tensor, quantize: str) -> None:
    stack = Stack(weight=weight if weight.dim() == 3 else weight[None])
    group = _BLOCK if quantize == "fp8-block" else None
    packed = quantize_stack(stack, EIGHT_BITS[quantize.removesuffix("-block")], group=group)
    owner, _, attribute = name.removesuffix(".weight").rpartition(".")
    module = decoder.get_submodule(owner)
    delattr(module, attribute)
    module.add_module(attribute, QuantizedStack(packed) if weight.dim() == 3 else QuantizedProjection(packed))
