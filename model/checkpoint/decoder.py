"""A checkpoint's weights into the reference decoder, packed where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.decoder import Decoder
from model.layers.packed import PackedProjection, PackedStack
from model.packer import Packer, is_packed

_PRECISE = (
    "norm.weight", "norm.bias", "router.weight", "router.bias", "step_bias", "rate_log", "skip", "head_weights.weight",
    "rope_exponents",
)  # fmt: skip
"""Ends of names of what stays in float32 whatever the rest is: small, and decides much."""


def fill_decoder(
    config: ModelConfig,
    weights: Iterable[tuple[str, Tensor]],
    *,
    dtype: torch.dtype = torch.float32,
    packer: Packer | None = None,
    progress: Callable[[float], None] | None = None,
) -> Decoder:
    """A decoder in evaluation mode, each weight converted to `dtype` as it comes: no second copy of all is held.

    With a `packer`, projections and experts are kept as it packs them, if it does. `weights` must be all of them; who
    reads them checks that. `progress` gets the fraction that is done.
    """
    with torch.device("meta"):
        decoder = Decoder(config)
    total = len(decoder.state_dict())
    for done, (name, weight) in enumerate(weights, 1):
        if packer is None or not is_packed(name) or not _pack(decoder, name, weight, packer):
            owner, _, attribute = name.rpartition(".")
            kept = torch.float32 if name.endswith(_PRECISE) else dtype
            own = weight.to(kept, copy=True)
            decoder.get_submodule(owner).register_parameter(attribute, nn.Parameter(own))
        if progress is not None:
            progress(done / total)
    return decoder.eval()


def _pack(decoder: Decoder, name: str, weight: Tensor, packer: Packer) -> bool:
    """Put a packed matrix, or one for each expert, where the weight would be. Was it packed?"""
    matrices = weight if weight.dim() == 3 else weight[None]
    packed = [packer.packed(matrix.float()) for matrix in matrices]
    found = [linear for linear in packed if linear is not None]
    if len(found) < len(packed):
        return False
    owner, _, attribute = name.removesuffix(".weight").rpartition(".")
    module = decoder.get_submodule(owner)
    if weight.dim() == 3:
        delattr(module, attribute)
        module.add_module(attribute, PackedStack(found))
    else:
        module.add_module(attribute, PackedProjection(found[0]))
    return True
