"""Tiny checkpoints in Mistral's own format, made tensor by tensor from what HF transformers wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_NAMES = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "block_sparse_moe": "feed_forward",
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
}


def interleaved_rows(weight: Tensor, head_dim: int) -> Tensor:
    """HF's half-split rows in Mistral's order, row by row: 0, E/2, 1, E/2 + 1, …"""
    rows = []
    for first in range(0, len(weight), head_dim):
        for index in range(head_dim // 2):
            rows += [weight[first + index], weight[first + index + head_dim // 2]]
    return torch.stack(rows)


def write_mistral(
    source: Path, target: Path, *, pickled: bool = False, fused: bool = False, eight_bits: bool = False
) -> Path:
    """Convert HF's folder; `fused`: the experts as the first Mixtral release stored them; `eight_bits`: projections in
    e4m3, as Ministral 3 is stored."""
    config = json.loads((source / "config.json").read_text())
    head_dim = config["head_dim"] or config["hidden_size"] // config["num_attention_heads"]
    weights: dict[str, Tensor] = {}
    for name, weight in load_file(source / "model.safetensors").items():
        if "q_proj" in name or "k_proj" in name:
            weight = interleaved_rows(weight, head_dim)
        for theirs, ours in _NAMES.items():
            name = name.replace(theirs, ours)
        weights[name.removeprefix("model.")] = weight
    if fused:
        weights = _fused(weights, config)
    params = _params(config, head_dim)
    if eight_bits:
        weights = _in_eight_bits(weights)
        params["quantization"] = {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}
    target.mkdir()
    (target / "params.json").write_text(json.dumps(params))
    if pickled:
        torch.save(weights, target / "consolidated.00.pth")
    else:
        save_file(weights, target / "consolidated.safetensors")
    return target


def write_mistral_mamba(source: Path, target: Path) -> Path:
    """HF's Mamba-2 as Codestral Mamba was published: a prefix before each name, and the embedding in the singular."""
    config = json.loads((source / "config.json").read_text())
    weights = load_file(source / "model.safetensors")
    target.mkdir()
    renamed = {f"model.{name.replace('embeddings', 'embedding')}": weight for name, weight in weights.items()}
    save_file(renamed, target / "consolidated.safetensors")
    params = {
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "vocab_size": config["vocab_size"],
        "n_groups": config["n_groups"],
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 1,
        "tie_embeddings": False,
        "model_type": "mamba",
    }
    (target / "params.json").write_text(json.dumps(params))
    return target


def _params(config: dict[str, Any], head_dim: int) -> dict[str, Any]:
    params = {
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "head_dim": head_dim,
        "hidden_dim": config["intermediate_size"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"],
        "norm_eps": config["rms_norm_eps"],
        "vocab_size": config["vocab_size"],
        "rope_theta": config["rope_parameters"]["rope_theta"],
        "sliding_window": config["sliding_window"],
        "max_seq_len": config["max_position_embeddings"],
    }
    if "num_local_experts" in config:
        experts = {"num_experts": config["num_local_experts"], "num_experts_per_tok": config["num_experts_per_tok"]}
        params["moe"] = experts
    rope = config["rope_parameters"]
    if rope["rope_type"] == "yarn":
        params["yarn"] = {
            "factor": rope["factor"],
            "original_max_position_embeddings": rope["original_max_position_embeddings"],
            "beta": rope["beta_fast"],
            "alpha": rope["beta_slow"],
            "apply_scale": rope.get("mscale_all_dim") is None,
        }
    if "llama_4_scaling_beta" in rope:
        params["llama_4_scaling"] = {
            "original_max_position_embeddings": rope["original_max_position_embeddings"],
            "beta": rope["llama_4_scaling_beta"],
        }
    return params


def _in_eight_bits(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if re.search(r"\.w[qkvo123]\.", name) is None:
            stored[name] = weight
            continue
        scale = weight.abs().max() / 448
        stem = name.removesuffix("weight")
        stored[name] = (weight / scale).to(torch.float8_e4m3fn)
        stored |= {f"{stem}qscale_weight": scale, f"{stem}qscale_act": torch.tensor(0.5)}
    return stored


def _fused(weights: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    for layer in range(config["num_hidden_layers"]):
        prefix = f"layers.{layer}.feed_forward"
        for part in ("w1", "w2", "w3"):
            each = [weights.pop(f"{prefix}.experts.{index}.{part}.weight") for index in range(8)]
            rows = [expert.T if part == "w2" else expert for expert in each]
            weights[f"layers.{layer}.block_sparse_moe.{part}"] = torch.cat(rows).contiguous()
        weights[f"layers.{layer}.block_sparse_moe.gate.weight"] = weights.pop(f"{prefix}.gate.weight")
    return weights
