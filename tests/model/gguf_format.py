"""Tiny checkpoints of every architecture as GGUF: HF's weights under the names that the `gguf` package gives them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.tokenizer import BYTE_OF_LETTER
from tests.model.gguf_recurrent import add_recurrent_metadata, recurrent_weights
from tests.model.mistral_format import interleaved_rows

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "mixtral": gguf.MODEL_ARCH.LLAMA,
    "ministral3": gguf.MODEL_ARCH.MISTRAL3,
    "mistral4": gguf.MODEL_ARCH.MISTRAL4,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "qwen3_moe": gguf.MODEL_ARCH.QWEN3MOE,
    "phi": gguf.MODEL_ARCH.PHI2,
    "starcoder2": gguf.MODEL_ARCH.STARCODER2,
    "granite": gguf.MODEL_ARCH.GRANITE,
    "granitemoe": gguf.MODEL_ARCH.GRANITE_MOE,
    "granitemoeshared": gguf.MODEL_ARCH.GRANITE_MOE,
    "deepseek_v2": gguf.MODEL_ARCH.DEEPSEEK2,
    "gpt_oss": gguf.MODEL_ARCH.GPT_OSS,
    "mamba2": gguf.MODEL_ARCH.MAMBA2,
    "granitemoehybrid": gguf.MODEL_ARCH.GRANITE_HYBRID,
    "qwen3_next": gguf.MODEL_ARCH.QWEN3NEXT,
    "mellum": gguf.MODEL_ARCH.QWEN3MOE,
}
"""The package does not know Mellum 2 yet, whose tensors llama.cpp names as Qwen3's."""
_NAMES = {
    "linear_attn.in_proj_qkv.": "attn_qkv.",
    "linear_attn.in_proj_z.": "attn_gate.",
    "shared_mlp.gate_proj.": "ffn_gate_shexp.",
    "shared_mlp.up_proj.": "ffn_up_shexp.",
}
"""What the converter names itself."""
_INTERLEAVED = (
    "llama",
    "mistral",
    "mixtral",
    "ministral3",
    "granite",
    "granitemoe",
    "granitemoeshared",
    "granitemoehybrid",
)


def write_gguf(
    source: Path,
    target: Path,
    *,
    split_latent: bool = False,
    fused_qkv: bool = False,
    fused_experts: bool = False,
    joint_delta: bool = False,
    part_tensors: int = 0,
    architecture: str = "",
    metadata: Mapping[str, Any] | None = None,
    edit: Callable[[dict[str, Tensor]], object] | None = None,
) -> Path:
    """Convert HF's folder in float32.

    `split_latent`: DeepSeek's newer layout; `fused_qkv`: Phi-2's older one; `fused_experts`: gates and ups together;
    `joint_delta`: Qwen3-Next's older layout, which keeps HF's projection. `part_tensors`: several files, of
    so many tensors each at most, of which the first is returned. To change or damage the file: another
    `architecture`, keys of `metadata` without the architecture (numbers, flags, texts and lists; None leaves one
    out), and `edit`, which changes the tensors.
    """
    config = json.loads((source / "config.json").read_text())
    writer = gguf.GGUFWriter(target, architecture or architecture_name(config), split_max_tensors=part_tensors)
    _add_metadata(writer, config)
    for key, value in (metadata or {}).items():
        _overwrite(writer, f"{writer.arch}.{key}", value)
    _add_vocabulary(writer, config["vocab_size"])
    weights = _plain_experts(_stacked(load_file(source / "model.safetensors")), config)
    joint = {name: weights[name] for name in weights if joint_delta and "in_proj_qkvz" in name}
    renamed = _renamed(recurrent_weights(weights, config), config)
    if joint_delta:
        renamed = {name: one for name, one in renamed.items() if not re.search("attn_(qkv|gate)", name)}
        renamed |= _renamed(joint, config)
    if split_latent or config["model_type"] == "mistral4":
        renamed = _split_latent(renamed, config)
    if fused_qkv:
        renamed = _fused_qkv(renamed)
    if fused_experts:
        renamed = _fused_experts(renamed)
    if edit is not None:
        edit(renamed)
    for name, weight in renamed.items():
        writer.add_tensor(name, weight.contiguous().numpy())
    if (config.get("rope_parameters") or {}).get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", _llama3_factors(source).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target if part_tensors == 0 else min(target.parent.glob(f"{target.stem}-*-of-*.gguf"))


def _overwrite(writer: gguf.GGUFWriter, key: str, value: object) -> None:
    if value is None:
        writer.kv_data[0].pop(key)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        assert isinstance(value, int)
        writer.add_uint32(key, value)


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Control tokens, among them StarCoder's for filling in, letters, and one pair of letters."""
    control = ["<pad>", "<s>", "</s>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
    letters = sorted(BYTE_OF_LETTER)[: size - len(control) - 1]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*control, *letters, "ab"])
    writer.add_token_types([gguf.TokenType.CONTROL] * len(control) + [gguf.TokenType.NORMAL] * (len(letters) + 1))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def architecture_name(config: dict[str, Any]) -> str:
    """What the file says of itself."""
    kind = config["model_type"]
    return "mellum" if kind == "mellum" else gguf.MODEL_ARCH_NAMES[ARCHITECTURES[kind]]


def _renamed(weights: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    names = gguf.get_tensor_name_map(ARCHITECTURES[config["model_type"]], config["num_hidden_layers"])
    dense = config["model_type"] == "granitemoehybrid" and not config["num_local_experts"]
    renamed = {}
    for name, weight in weights.items():
        stem, _, ending = name.rpartition(".")
        if name.endswith(("A_log", ".D")):
            own = names.get_name(name)
        elif name.endswith("sinks"):
            own = f"{names.get_name(name)}.weight"
        elif found := [theirs for ours, theirs in _NAMES.items() if ours in name]:
            own = f"blk.{name.split('.')[2]}.{found[0]}{ending}"
        else:
            assert names.get_name(stem) is not None, name
            own = f"{names.get_name(stem)}.{ending}"
        assert own is not None, name
        renamed[own.replace("_shexp", "") if dense else own] = _rows(name, weight, config)
    return renamed


def _llama3_factors(source: Path) -> Tensor:
    """From HF's own rotary frequencies, as llama.cpp's converter lists them."""
    from tests.model.tiny_hf import hf_model

    model = hf_model(source)
    theta, frequencies = model.config.rope_parameters["rope_theta"], model.model.rotary_emb.inv_freq
    plain = theta ** -(torch.arange(len(frequencies)) / len(frequencies))
    factors: Tensor = plain / frequencies
    return factors


def _stacked(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Experts that lie one by one, in one tensor under a name without their number."""
    single = {name: weight for name, weight in weights.items() if not re.search(r"experts\.\d", name)}
    groups: dict[str, list[Tensor]] = {}
    for index in range(1000):
        found = [name for name in weights if f"experts.{index}." in name]
        if not found:
            break
        for name in found:
            groups.setdefault(name.replace(f"experts.{index}.", "experts."), []).append(weights[name])
    return single | {name: torch.stack(each) for name, each in groups.items()}


def _plain_experts(weights: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """Fused gates and ups in tensors of their own, as converters write them."""
    plain: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if config["model_type"] == "mistral4":
            plain[f"{name}.weight" if "experts." in name and weight.dim() == 3 else name] = weight
        elif name.endswith("block_sparse_moe.input_linear.weight"):
            stem = name.replace("block_sparse_moe.input_linear.weight", "mlp.experts")
            plain[f"{stem}.gate_proj.weight"], plain[f"{stem}.up_proj.weight"] = weight.chunk(2, 1)
        elif name.endswith("gate_up_proj"):
            stem = name.removesuffix("gate_up_proj")
            plain[f"{stem}gate_proj.weight"] = weight[:, :, 0::2].transpose(1, 2)
            plain[f"{stem}up_proj.weight"] = weight[:, :, 1::2].transpose(1, 2)
        elif name.endswith("gate_up_proj_bias"):
            stem = name.removesuffix("gate_up_proj_bias")
            plain[f"{stem}gate_proj.bias"], plain[f"{stem}up_proj.bias"] = weight[:, 0::2], weight[:, 1::2]
        elif name.endswith("experts.down_proj"):
            plain[f"{name}.weight"] = weight.transpose(1, 2)
        elif name.endswith("experts.down_proj_bias"):
            plain[name.replace("_bias", ".bias")] = weight
        else:
            plain[name] = weight
    return plain


def _rows(name: str, weight: Tensor, config: dict[str, Any]) -> Tensor:
    if config["model_type"] in _INTERLEAVED and ("q_proj" in name or "k_proj" in name):
        return interleaved_rows(
            weight, config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        )
    return weight


def _split_latent(weights: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    split: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if "attn_kv_b" not in name:
            split[name] = weight
            continue
        heads = weight.view(config["num_attention_heads"], -1, weight.shape[1])
        plain = config["qk_nope_head_dim"]
        split[name.replace("kv_b", "k_b")] = heads[:, :plain].transpose(1, 2)
        split[name.replace("kv_b", "v_b")] = heads[:, plain:]
    return split


def _fused_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for name in [name for name in weights if ".attn_q." in name]:
        parts = [weights.pop(name.replace("attn_q", f"attn_{part}")) for part in "qkv"]
        weights[name.replace("attn_q", "attn_qkv")] = torch.cat(parts)
    return weights


def _fused_experts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for name in [name for name in weights if "ffn_gate_exps" in name]:
        parts = weights.pop(name), weights.pop(name.replace("gate", "up"))
        weights[name.replace("gate", "gate_up")] = torch.cat(parts, 1)
    return weights


def _add_metadata(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    add_recurrent_metadata(writer, config)
    if config["model_type"] == "mamba2":
        return
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    absorbed = config["model_type"] == "mistral4"
    latent = absorbed or config["model_type"] == "deepseek_v2"
    plain, turning = (config["qk_nope_head_dim"], config["qk_rope_head_dim"]) if latent else (0, head_dim)
    each = config["rope_parameters"]
    rope = each.get("full_attention", each)
    adders = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "head_count": heads,
        "head_count_kv": None if config["model_type"] == "granitemoehybrid" else config["num_key_value_heads"],
        "key_length": plain + turning,
        "value_length": config["v_head_dim"] if latent else head_dim,
        "rope_dimension_count": turning if latent else int(turning * rope.get("partial_rotary_factor", 1)),
        "rope_freq_base": rope["rope_theta"],
        "layer_norm_rms_eps": config.get("rms_norm_eps"),
        "layer_norm_eps": config.get("layer_norm_eps", config.get("norm_epsilon")),
        "rope_freq_base_swa": each.get("sliding_attention", {}).get("rope_theta"),
        "sliding_window": config.get("sliding_window"),
        "expert_count": _first(config, "num_local_experts", "n_routed_experts", "num_experts"),
        "expert_used_count": config.get("num_experts_per_tok"),
        "expert_feed_forward_length": config.get(
            "intermediate_size" if config["model_type"] == "gpt_oss" else "moe_intermediate_size"
        ),
        "expert_shared_feed_forward_length": _first(
            config, "shared_intermediate_size", "shared_expert_intermediate_size"
        ),
        "expert_shared_count": config.get("n_shared_experts"),
        "expert_group_count": config.get("n_group"),
        "expert_group_used_count": config.get("topk_group"),
        "expert_weights_scale": config.get("routed_scaling_factor"),
        "leading_dense_block_count": config.get("first_k_dense_replace"),
        "q_lora_rank": config.get("q_lora_rank"),
        "kv_lora_rank": config.get("kv_lora_rank"),
        "embedding_scale": config.get("embedding_multiplier"),
        "residual_scale": config.get("residual_multiplier"),
        "attention_scale": config.get("attention_multiplier"),
        "logit_scale": config.get("logits_scaling"),
    }
    if absorbed:
        adders |= {
            "head_count_kv": 1,
            "key_length": config["kv_lora_rank"] + turning,
            "value_length": config["kv_lora_rank"],
            "key_length_mla": plain + turning,
            "value_length_mla": config["v_head_dim"],
            "expert_weights_norm": config["norm_topk_prob"],
            "attn_temperature_length": rope["original_max_position_embeddings"],
        }
    for name, value in adders.items():
        if value is not None:
            getattr(writer, f"add_{name}")(value)
    if config["model_type"] == "mellum":
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if "mscale_all_dim" in rope:
            tenth = 1.0 if config["model_type"] == "ministral3" else 0.1
            writer.add_rope_scaling_yarn_log_mul(tenth * rope["mscale_all_dim"])
    if "llama_4_scaling_beta" in rope:
        writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])


def _first(config: dict[str, Any], *keys: str) -> Any:
    return next((config[key] for key in keys if key in config), None)
