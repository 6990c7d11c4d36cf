"""gpt-oss: attention sinks, every second layer a window, experts with biases and a clamped SwiGLU, stored in mxfp4.

Source: OpenAI's reference (`gpt_oss/torch/model.py`) and the OCP Microscaling Formats specification, version 1.0.

Legend: X experts, I intermediate, D hidden, B blocks of 32 numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model.architectures.architecture import Architecture, head_counts, model_config, windows
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, attention, linear, only
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig, RouterConfig
from model.layers.mlp import CLAMP, CLAMPED_SLOPE

_SCALING = {
    "rope_type": "yarn",
    "factor": 32.0,
    "original_max_position_embeddings": 4096,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
}


def configure(settings: Settings) -> ModelConfig:
    settings = _whole(settings)
    settings.require("hidden_act", "silu")
    settings.require("swiglu_limit", CLAMP)
    settings.require("swiglu_alpha", CLAMPED_SLOPE)
    heads, kv_heads, head_dim = head_counts(settings)
    norm = NormConfig(epsilon=settings.number("rms_norm_eps", 1e-5))
    biased = settings.flag("attention_bias", True)
    shape = AttentionConfig(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=read_rope(settings, dimensions=head_dim, base=150000.0),
        qkv_bias=biased,
        out_bias=biased,
        sinks=True,
    )
    router = RouterConfig(
        experts=settings.integer("num_local_experts"),
        chosen=settings.integer("num_experts_per_tok", settings.integer("experts_per_token", 4)),
        normalize=True,
        bias=True,
    )
    mlp = MlpConfig(intermediate=settings.integer("intermediate_size"), activation="clamped", bias=True, router=router)
    layers = tuple(LayerConfig(norm=norm, mixer=one, mlp=mlp) for one in windows(settings, shape))
    return model_config(settings, layers, norm=norm)


def _whole(settings: Settings) -> Settings:
    """With what HF takes keys to be that the file leaves out."""
    kinds = ("sliding_attention", "full_attention")
    unsaid: dict[str, Any] = {
        "layer_types": [kinds[index % 2] for index in range(settings.integer("num_hidden_layers"))],
        "sliding_window": 128,
    }
    if not {"rope_parameters", "rope_scaling"} & settings.values.keys():
        unsaid["rope_parameters"] = _SCALING
    return Settings(unsaid | dict(settings.values), settings.source)


def layer(config: LayerConfig) -> Sources:
    """Experts as the released checkpoints have them: mxfp4 blocks and scales, gates and ups interleaved."""
    into, out = "mlp.experts.gate_up_proj", "mlp.experts.down_proj"
    return _beside_experts(config) | {
        "mlp.gate_proj": Source((f"{into}_blocks", f"{into}_scales"), _then_rows(0), packed=True),
        "mlp.up_proj": Source((f"{into}_blocks", f"{into}_scales"), _then_rows(1), packed=True),
        "mlp.down_proj": Source((f"{out}_blocks", f"{out}_scales"), mxfp4, packed=True),
    }


def plain_layer(config: LayerConfig) -> Sources:
    """Experts in a floating-point type: [X, inputs, outputs], gates and ups interleaved."""
    into, out = ("mlp.experts.gate_up_proj",), ("mlp.experts.down_proj",)
    return _beside_experts(config) | {
        "mlp.gate_proj": Source(into, lambda tensors: only(tensors)[:, :, 0::2].transpose(1, 2)),
        "mlp.up_proj": Source(into, lambda tensors: only(tensors)[:, :, 1::2].transpose(1, 2)),
        "mlp.down_proj": Source(out, lambda tensors: only(tensors).transpose(1, 2)),
    }


def _beside_experts(config: LayerConfig) -> Sources:
    into = ("mlp.experts.gate_up_proj_bias",)
    return (
        attention(config.attention)
        | linear("mlp.router", "mlp.router", bias=True)
        | {
            "mlp.gate_bias": Source(into, lambda tensors: only(tensors)[:, 0::2]),
            "mlp.up_bias": Source(into, lambda tensors: only(tensors)[:, 1::2]),
            "mlp.down_bias": Source(("mlp.experts.down_proj_bias",)),
        }
    )


_LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def mxfp4(tensors: list[Tensor]) -> Tensor:
    """Blocks uint8 [X, N, B, 16], low half first, and exponents uint8 [X, N, B] to bfloat16 [X, N, 32 B]."""
    blocks, scales = tensors
    levels = torch.tensor([*_LEVELS, *(-level for level in _LEVELS)], dtype=torch.bfloat16)
    pairs = torch.stack((blocks & 15, blocks >> 4), -1).flatten(-2)  # [X, N, B, 32]
    return torch.ldexp(levels[pairs.int()], scales.int()[..., None] - 127).flatten(-2)


def _then_rows(parity: int) -> Callable[[list[Tensor]], Tensor]:
    return lambda tensors: mxfp4(tensors)[:, parity::2]


GPT_OSS = Architecture(name="gpt_oss", configure=configure, layer=layer)
GPT_OSS_PLAIN = Architecture(name="gpt_oss", configure=configure, layer=plain_layer)
