"""Recurrent layers as llama.cpp's converter writes them to GGUF: what it changes in HF's tensors, and the keys it adds.

After llama.cpp's `conversion/mamba.py`, `granite.py` and `qwen.py`, written with loops where those reshape.
"""

from __future__ import annotations

from typing import Any

import gguf
import torch
from torch import Tensor


def recurrent_weights(weights: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """HF's tensors under HF's names, but for what has none there, which is under GGUF's without the layer's."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        stem = name.removesuffix(".weight")
        if name.endswith("A_log"):
            found[name] = _column(-weight.exp(), config)
        elif name.endswith(".D"):
            found[name] = weight[:, None]
        elif name.endswith("dt_bias"):
            found[name.replace("dt_bias", "dt_proj.bias")] = weight
        elif stem.endswith("conv1d"):
            found[name] = weight[:, 0]
        elif stem.endswith(("mixer.norm", "mamba.norm")):
            found[name] = torch.stack(weight.chunk(config.get("n_groups") or config["mamba_n_groups"]))
        elif stem.endswith("shared_mlp.input_linear"):
            found[name.replace("input_linear", "gate_proj")], found[name.replace("input_linear", "up_proj")] = (
                weight[: len(weight) // 2],
                weight[len(weight) // 2 :],
            )
        elif stem.endswith("in_proj_qkvz"):
            found |= _by_kind(name, weight, config)
        elif config["model_type"] == "qwen3_next" and stem.endswith("norm") and "linear_attn" not in stem:
            found[name] = weight + 1
        else:
            found[name] = weight
    return found


def _column(rates: Tensor, config: dict[str, Any]) -> Tensor:
    """Mamba-2's have a second dimension of one, the delta rule's have not."""
    return rates if config["model_type"] == "qwen3_next" else rates[:, None]


def _by_kind(name: str, weight: Tensor, config: dict[str, Any]) -> dict[str, Tensor]:
    """HF's rows go by key head, and within by kind; the file's by kind, and within by head."""
    key_heads, key_dim = config["linear_num_key_heads"], config["linear_key_head_dim"]
    values = config["linear_num_value_heads"] // key_heads * config["linear_value_head_dim"]
    kinds: list[list[Tensor]] = [[], [], [], []]
    for head in weight.chunk(key_heads):
        start = 0
        for kind, size in zip(kinds, (key_dim, key_dim, values, values), strict=True):
            kind.append(head[start : start + size])
            start += size
    query, key, value, gate = (torch.cat(kind) for kind in kinds)
    return {
        name.replace("in_proj_qkvz", "in_proj_qkv"): torch.cat((query, key, value)),
        name.replace("in_proj_qkvz", "in_proj_z"): gate,
    }


def add_recurrent_metadata(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """The keys that these layers add, and those that they change."""
    kind = config["model_type"]
    if kind == "mamba2":
        inner = config["expand"] * config["hidden_size"]
        writer.add_context_length(2**20)
        writer.add_embedding_length(config["hidden_size"])
        writer.add_feed_forward_length(0)
        writer.add_head_count(0)
        writer.add_block_count(config["num_hidden_layers"])
        writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
        _add_state(writer, config["conv_kernel"], inner, config["state_size"], config["num_heads"], config["n_groups"])
    elif kind == "granitemoehybrid":
        attended = [one in ("attention", "full_attention") for one in config["layer_types"]]
        writer.add_head_count_kv([config["num_key_value_heads"] if one else 0 for one in attended])
        writer.add_rope_scaling_finetuned(config["position_embedding_type"] == "rope")
        inner, heads = config["mamba_expand"] * config["hidden_size"], config["mamba_n_heads"]
        _add_state(writer, config["mamba_d_conv"], inner, config["mamba_d_state"], heads, config["mamba_n_groups"])
    elif kind == "qwen3_next":
        heads, key_heads = config["linear_num_value_heads"], config["linear_num_key_heads"]
        inner = heads * config["linear_value_head_dim"]
        _add_state(writer, config["linear_conv_kernel_dim"], inner, config["linear_key_head_dim"], heads, key_heads)
        writer.add_full_attention_interval(config["layer_types"].index("full_attention") + 1)


def _add_state(writer: gguf.GGUFWriter, kernel: int, inner: int, state: int, heads: int, groups: int) -> None:
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_group_count(groups)
