"""Codestral Mamba as Mistral publishes it: `params.json` with `model_type` mamba, tensors as `mamba_ssm` names them.

What the file leaves out is `mamba_ssm`'s default. Source: `mistral-inference`, `args.py` and `mamba.py`; `mamba_ssm`,
`modules/mamba2.py`.
"""

from __future__ import annotations

from dataclasses import replace

from model.architectures.mamba2 import MAMBA2
from model.architectures.settings import Settings
from model.architectures.sources import Sources, whole
from model.config import ModelConfig

_STATE, _HEAD_DIM, _EXPAND = 128, 64, 2
_NAMES = replace(
    MAMBA2.names,
    layer="model.backbone.layers.{}.",
    embedding="model.backbone.embedding",
    norm="model.backbone.norm_f",
    head="model.lm_head",
)


def configure(settings: Settings) -> ModelConfig:
    """In the words of HF's configuration. Raises `CheckpointError`."""
    settings.require("rms_norm", True)
    hidden, multiple = settings.integer("dim"), settings.integer("pad_vocab_size_multiple", 8)
    if multiple == 0:
        raise settings.wrong("pad_vocab_size_multiple")
    values = {
        "model_type": MAMBA2.name,
        "hidden_size": hidden,
        "num_hidden_layers": settings.integer("n_layers"),
        "vocab_size": -(-settings.integer("vocab_size") // multiple) * multiple,
        "n_groups": settings.integer("n_groups", 1),
        "num_heads": hidden * _EXPAND // _HEAD_DIM,
        "head_dim": _HEAD_DIM,
        "expand": _EXPAND,
        "state_size": _STATE,
        "tie_word_embeddings": settings.flag("tie_embeddings", True),
    }
    return MAMBA2.configure(Settings(values, settings.source))


def sources(config: ModelConfig) -> Sources:
    return whole(config, _NAMES, MAMBA2.layer)
