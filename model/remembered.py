"""What a model remembers of its text, by its table: what a token takes and what a sequence does, and which layers keep
it. Computes nothing."""

from __future__ import annotations

import torch

from model.config import AttentionConfig, ModelConfig, RecurrentConfig
from model.errors import CheckpointError
from model.kv_cache import KvShape, StateShape


def attending(config: ModelConfig) -> list[AttentionConfig]:
    """The layers that attend."""
    return [layer.mixer for layer in config.layers if isinstance(layer.mixer, AttentionConfig)]


def kv_shape(config: ModelConfig, *, dtype: torch.dtype) -> KvShape:
    """Latent attention keeps one short vector a token, in two halves, where a layer has latents of its own; of several
    widths the widest has room for all. Raises `CheckpointError` for layers whose keys and values differ in shape."""
    attended = attending(config)
    remembering = [attention for attention in attended if attention.remembers]
    shapes = {attention.remembered for attention in remembering} or {(0, 0)}
    if len(shapes) > 1 and any(attention.latent is None for attention in remembering):
        raise CheckpointError(
            "The layers of this model have key-value heads of different shapes, which is not supported.",
            hint="Use another model.",
        )
    kv_heads, head_dim = max(shapes)
    indexes = [one.index for one in attended if one.index is not None and one.index.own]
    recurrent = [layer.mixer for layer in config.layers if isinstance(layer.mixer, RecurrentConfig)]
    return KvShape(
        layers=len(remembering),
        kv_heads=kv_heads,
        head_dim=head_dim,
        dtype=dtype,
        index_layers=len(indexes),
        index_dim=indexes[0].dim if indexes else 0,
        states=tuple(StateShape((mixer.kernel - 1, mixer.channels), mixer.state_shape) for mixer in recurrent),
    )


def stores(config: ModelConfig) -> list[int]:
    """Of each layer that attends, the number, among those that remember, of the one whose keys and values it attends
    to: its own, or an earlier one's."""
    found, leaders, count = [], dict[int, int](), 0
    for attention in attending(config):
        shared = None if attention.latent is None else attention.latent.shared
        if attention.remembers:
            found.append(count)
            if shared is not None:
                leaders[shared] = count
            count += 1
        else:
            assert shared is not None
            found.append(leaders[shared])
    return found
