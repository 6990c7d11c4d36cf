"""Layers of GGUF files that remember a state: what the metadata says of them in HF's words, and their weights' places.

Mamba-2 (`mamba2`, `granitehybrid`) and the gated delta rule (`qwen3next`). Files hold the rate at which a state fades,
−exp(A_log); the decoder wants its logarithm. Knows no other layers. Source: llama.cpp's `conversion/mamba.py`,
`granite.py` and `qwen.py`.

Legend: H heads, G groups, I inner.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.architectures.qwen3_next import delta_projections
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, linear, only
from model.config import DeltaConfig, StateSpaceConfig
from model.errors import CheckpointError

_CONVOLUTION_BIAS = "ssm_conv1d.bias"
_BOUNDLESS = 2**20
"""The context that converters write for layers without positions, which nobody trained for."""


def mamba2_settings(own: Settings, *, stored: frozenset[str]) -> dict[str, Any]:
    """Codestral Mamba and its like. `own` are the file's keys without the architecture, `stored` its tensors' names."""
    hidden, (heads, head_dim) = own.integer("embedding_length"), _heads(own)
    return {
        "num_heads": heads,
        "head_dim": head_dim,
        "expand": heads * head_dim // max(hidden, 1),
        "n_groups": own.integer("ssm.group_count"),
        "state_size": own.integer("ssm.state_size"),
        "conv_kernel": own.integer("ssm.conv_kernel"),
        "use_conv_bias": f"blk.0.{_CONVOLUTION_BIAS}" in stored,
        "layer_norm_epsilon": own.number("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": None,  # `_BOUNDLESS`
    }


def granite_settings(own: Settings, *, stored: frozenset[str]) -> dict[str, Any]:
    """Granite 4. A layer without key and value heads is recurrent."""
    hidden, (heads, head_dim) = own.integer("embedding_length"), _heads(own)
    kv_heads = own.integers("attention.head_count_kv")
    if not any(kv_heads):
        raise own.wrong("attention.head_count_kv")
    experts, dense = own.integer("expert_count", 0), own.integer("feed_forward_length")
    shared = own.integer("expert_shared_feed_forward_length", 0) if experts else dense
    turning, context = own.flag("rope.scaling.finetuned", True), own.integer("context_length")
    if not turning and context == _BOUNDLESS:  # as IBM publishes them: H-350M, and all larger ones
        context = 32768 if hidden == 768 else 131072
    return {
        "num_key_value_heads": max(kv_heads),
        "layer_types": ["attention" if count else "mamba" for count in kv_heads],
        "max_position_embeddings": context,
        "position_embedding_type": "rope" if turning else "nope",
        "num_local_experts": experts,
        "shared_intermediate_size": shared,
        "mamba_n_heads": heads,
        "mamba_expand": heads * head_dim // max(hidden, 1),
        "mamba_n_groups": own.integer("ssm.group_count"),
        "mamba_d_state": own.integer("ssm.state_size"),
        "mamba_d_conv": own.integer("ssm.conv_kernel"),
        "mamba_conv_bias": any(name.endswith(_CONVOLUTION_BIAS) for name in stored),
    }


def qwen3_next_settings(own: Settings) -> dict[str, Any]:
    """Qwen3-Next and Qwen3-Coder-Next. Every `full_attention_interval`-th layer attends."""
    (heads, value_dim), every = _heads(own), own.integer("full_attention_interval", 4)
    if not every or not own.integer("attention.key_length"):
        raise own.wrong("attention.key_length" if every else "full_attention_interval")
    return {
        "full_attention_interval": every,
        "partial_rotary_factor": own.integer("rope.dimension_count") / own.integer("attention.key_length"),
        "linear_num_value_heads": heads,
        "linear_num_key_heads": own.integer("ssm.group_count"),
        "linear_key_head_dim": own.integer("ssm.state_size"),
        "linear_value_head_dim": value_dim,
        "linear_conv_kernel_dim": own.integer("ssm.conv_kernel"),
        "shared_expert_intermediate_size": own.integer("expert_shared_feed_forward_length"),
        "norm_topk_prob": True,
    }


def _heads(own: Settings) -> tuple[int, int]:
    """How many there are, which the file calls the rank of the time step, and the dimensions of each."""
    heads, inner = own.integer("ssm.time_step_rank"), own.integer("ssm.inner_size")
    if not heads or inner % heads:
        raise own.wrong("ssm.time_step_rank")
    return heads, inner // heads


def state_space(config: StateSpaceConfig) -> Sources:
    """A Mamba-2 mixer's weights within a layer."""
    found = linear("mixer.in_proj", "ssm_in", bias=config.bias) | linear("mixer.out_proj", "ssm_out", bias=config.bias)
    if config.conv_bias:
        found["mixer.conv.bias"] = Source((_CONVOLUTION_BIAS,))
    return found | {
        "mixer.conv.weight": Source(("ssm_conv1d.weight",)),
        "mixer.step_bias": Source(("ssm_dt.bias",)),
        "mixer.rate_log": Source(("ssm_a",), _logarithm),
        "mixer.skip": Source(("ssm_d",), _flat),
        "mixer.norm.weight": Source(("ssm_norm.weight",), _flat),
    }


def delta(config: DeltaConfig, there: set[str]) -> Sources:
    """A delta rule's weights within a layer that has the tensors `there`. Older files keep HF's joint projection."""
    joint, small = "ssm_in.weight", "ssm_ba.weight"
    found = delta_projections(config, joint=joint, small=small)
    if joint not in there:
        found["mixer.qkv_proj.weight"] = Source(("attn_qkv.weight",))
        found["mixer.z_proj.weight"] = Source(("attn_gate.weight",))
    return found | {
        "mixer.conv.weight": Source(("ssm_conv1d.weight",)),
        "mixer.step_bias": Source(("ssm_dt.bias",)),
        "mixer.rate_log": Source(("ssm_a",), _logarithm),
        "mixer.norm.weight": Source(("ssm_norm.weight",)),
        "mixer.out_proj.weight": Source(("ssm_out.weight",)),
    }


def _logarithm(tensors: list[Tensor]) -> Tensor:
    """Rates [H] or [H, 1], none above 0, to the logarithms of their sizes [H]."""
    rates = only(tensors).flatten()
    if not rates.is_meta and not bool((rates <= 0).all()):
        raise CheckpointError(
            "The rates at which states fade (ssm_a) are not all negative: states would grow.",
            hint="The file is damaged, or was converted by a defective tool; fetch it again.",
        )
    return torch.log(-rates)


def _flat(tensors: list[Tensor]) -> Tensor:
    """[H, 1] to [H]; [G, I / G] to [I]."""
    return only(tensors).flatten()
