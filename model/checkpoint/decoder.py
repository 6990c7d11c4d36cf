"""A checkpoint's weights into the reference decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.decoder import Decoder


def fill_decoder(
    config: ModelConfig,
    weights: Iterable[tuple[str, Tensor]],
    *,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[float], None] | None = None,
) -> Decoder:
    """A decoder in evaluation mode, each weight converted to `dtype` as it comes: no second copy of all is held.

    `weights` must be all of them; who reads them checks that. `progress` gets the fraction that is done.
    """
    with torch.device("meta"):
        decoder = Decoder(config)
    total = len(decoder.state_dict())
    for done, (name, weight) in enumerate(weights, 1):
        owner, _, attribute = name.rpartition(".")
        own = weight.to(dtype, copy=True)
        decoder.get_submodule(owner).register_parameter(attribute, nn.Parameter(own))
        if progress is not None:
            progress(done / total)
    return decoder.eval()
