"""Tiny checkpoints in Mistral's own format, made tensor by tensor from what HF transformers wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_LATENT = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.q_a_proj": "attention.wq_a",
    "self_attn.q_a_layernorm": "attention.q_a_norm",
    "self_attn.q_b_proj": "attention.wq_b",
    "self_attn.kv_a_proj_with_mqa": "attention.wkv_a_with_mqa",
    "self_attn.kv_a_layernorm": "attention.kv_a_norm",
    "self_attn.kv_b_proj": "attention.wkv_b",
    "mlp.shared_experts.gate_proj": "shared_experts.w1",
    "mlp.shared_experts.down_proj": "shared_experts.w2",
    "mlp.shared_experts.up_proj": "shared_experts.w3",
    "mlp.gate.": "gate.",
}
"""What latent attention and its experts are called beside the rest."""
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
    latent = config["model_type"] == "mistral4"
    stored = load_file(source / "model.safetensors")
    weights: dict[str, Tensor] = {}
    for name, weight in (_single_experts(stored) if latent else stored).items():
        if not latent and ("q_proj" in name or "k_proj" in name):
            weight = interleaved_rows(weight, head_dim)
        for theirs, ours in ((_LATENT if latent else {}) | _NAMES).items():
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
        "sliding_window": config.get("sliding_window"),
        "max_seq_len": config["max_position_embeddings"],
    }
    if config["model_type"] == "ministral":
        slides = [kind == "sliding_attention" for kind in config["layer_types"]]
        params["sliding_window"] = [config["sliding_window"] if sliding else None for sliding in slides]
    if "num_local_experts" in config:
        experts = {"num_experts": config["num_local_experts"], "num_experts_per_tok": config["num_experts_per_tok"]}
        params["moe"] = experts
    rope = config["rope_parameters"]
    latent = config["model_type"] == "mistral4"
    if latent:
        keys = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        params |= {key: config[key] for key in keys}
        params["moe"] = {
            "num_experts": config["n_routed_experts"],
            "num_experts_per_tok": config["num_experts_per_tok"],
            "expert_hidden_dim": config["moe_intermediate_size"],
            "num_shared_experts": config["n_shared_experts"],
            "first_k_dense_replace": config["first_k_dense_replace"],
            "routed_scale": config["routed_scaling_factor"],
            "num_expert_groups": 1,
            "num_expert_groups_per_tok": 1,
            "route_every_n": 1,
        }
    if rope["rope_type"] == "yarn":
        params["yarn"] = {
            "factor": rope["factor"],
            "original_max_position_embeddings": rope["original_max_position_embeddings"],
            "beta": rope["beta_fast"],
            "alpha": rope["beta_slow"],
            "apply_scale": bool(rope.get("mscale_all_dim")) is latent,
        }
    if "llama_4_scaling_beta" in rope:
        params["llama_4_scaling"] = {
            "original_max_position_embeddings": rope["original_max_position_embeddings"],
            "beta": rope["llama_4_scaling_beta"],
        }
    return params


def _single_experts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stacked experts one by one."""
    single: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.dim() < 3:
            single[name] = weight
            continue
        stem, _, kind = name.replace("mlp.", "").rpartition(".")
        for index, expert in enumerate(weight):
            parts = {"w2": expert} if kind == "down_proj" else dict(zip(("w1", "w3"), expert.chunk(2), strict=True))
            single |= {f"{stem}.{index}.{part}.weight": one.contiguous() for part, one in parts.items()}
    return single


def _in_eight_bits(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if re.search(r"\.w(q|k|v|o|1|2|3|q_a|q_b|kv_a_with_mqa|kv_b)\.", name) is None:
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
