"""GGUF metadata in the words of HF's `config.json`, so that each architecture is described once.

Source: llama.cpp's `convert_hf_to_gguf.py` (its `conversion/`), `src/models/` and `gguf-py/gguf/constants.py`.
"""

from __future__ import annotations

from typing import Any

from model.architectures.settings import Settings
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_recurrent import granite_settings, mamba2_settings, qwen3_next_settings
from model.checkpoint.gguf_rope import rope_parameters
from model.errors import CheckpointError

_COMMON = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "norm_epsilon": "attention.layer_norm_epsilon",
    "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
    "num_local_experts": "expert_count",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "attention_multiplier": "attention.scale",
    "logits_scaling": "logit_scale",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "n_routed_experts": "expert_count",
    "n_shared_experts": "expert_shared_count",
    "routed_scaling_factor": "expert_weights_scale",
    "first_k_dense_replace": "leading_dense_block_count",
}
_NAMES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "phi2": "phi",
    "starcoder2": "starcoder2",
    "granite": "granite",
    "granitemoe": "granitemoe",
    "deepseek2": "deepseek_v2",
    "gpt-oss": "gpt_oss",
    "mamba2": "mamba2",
    "granitehybrid": "granitemoehybrid",
    "qwen3next": "qwen3_next",
    "mellum": "mellum",
    "mistral3": "ministral3",
    "mistral4": "mistral4",
}
"""By `general.architecture`: HF's `model_type`."""

_STARCODER2_BASES = {30: 999999.4420358813, 32: 1e6, 40: 1e5}
"""By layers (3B, 7B and 15B): the first converters did not write the rotary base, and llama.cpp took 10,000."""


def read_settings(file: GgufFile) -> Settings:
    """Raises `CheckpointError` for an architecture that is not supported."""
    name = file.metadata.get("general.architecture")
    if name not in _NAMES:
        raise CheckpointError(
            f"{file.path.name} has architecture {name!r}, which is not supported.",
            hint=f"Supported in GGUF: {', '.join(_NAMES)}.",
        )
    found = Settings({key: file.metadata.get(f"{name}.{theirs}") for key, theirs in _COMMON.items()}, file.path.name)
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise CheckpointError(f"{file.path.name} has no tensor 'token_embd.weight'.", hint="Fetch the model again.")
    values: dict[str, Any] = dict(found.values)
    values |= {
        "model_type": "mixtral" if name == "llama" and values["num_local_experts"] else _NAMES[str(name)],
        "vocab_size": embedding.shape[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "rope_parameters": rope_parameters(file, str(name)),
    }
    return Settings(values | _of_its_own(file, str(name), found), file.path.name)


def _of_its_own(file: GgufFile, name: str, found: Settings) -> dict[str, Any]:
    """What a family says in other words, or leaves to llama.cpp's code."""
    if name == "phi2":
        turning = found.integer("qk_rope_head_dim")
        return {"partial_rotary_factor": turning * found.integer("num_attention_heads") / found.integer("hidden_size")}
    if name == "qwen3moe":
        return {"norm_topk_prob": True}
    if name == "granitemoe" and (shared := file.metadata.get("granitemoe.expert_shared_feed_forward_length")):
        return {"model_type": "granitemoeshared", "shared_intermediate_size": shared}
    if name == "gpt-oss":
        kinds = ("sliding_attention", "full_attention")
        return {"layer_types": [kinds[index % 2] for index in range(found.integer("num_hidden_layers"))]}
    if name == "starcoder2" and found.values["rope_theta"] is None:
        return {"rope_theta": _STARCODER2_BASES.get(found.integer("num_hidden_layers"))}
    if name in ("deepseek2", "mistral4"):
        return _latent(file, name, found)
    own = Settings(_own_keys(file, name), file.path.name)
    if name == "mamba2":
        return mamba2_settings(own, stored=frozenset(file.tensors))
    if name == "granitehybrid":
        return granite_settings(own, stored=frozenset(file.tensors))
    if name == "qwen3next":
        return qwen3_next_settings(own)
    if name == "mellum":
        return _two_ropes(own, scaled=rope_parameters(file, name))
    if name == "mistral3":
        own.require("expert_count", 0)
    return {}


def _own_keys(file: GgufFile, name: str) -> dict[str, Any]:
    """Those of the architecture, without its name."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}


def _two_ropes(own: Settings, *, scaled: dict[str, Any] | None) -> dict[str, Any]:
    """Mellum 2: layers that slide turn by a base of their own, and are never scaled."""
    count, base = own.integer("block_count"), own.number("rope.freq_base")
    pattern = own.values.get("attention.sliding_window_pattern", 4)
    if own.optional_integer("attention.sliding_window") is None:
        pattern = [False] * count
    elif type(pattern) is int:  # llama.cpp: the last of so many layers sees all
        pattern = [index % pattern < pattern - 1 for index in range(count)] if pattern else [True] * count
    if not isinstance(pattern, list) or not all(isinstance(slides, bool) for slides in pattern):
        raise own.wrong("attention.sliding_window_pattern")
    return {
        "layer_types": ["sliding_attention" if slides else "full_attention" for slides in pattern],
        "rope_parameters": {
            "full_attention": scaled or {"rope_theta": base},
            "sliding_attention": {"rope_theta": own.number("rope.freq_base_swa", base)},
        },
        "norm_topk_prob": True,
    }


def _latent(file: GgufFile, name: str, found: Settings) -> dict[str, Any]:
    """DeepSeek's, and Mistral's of that kind: Large 3 is called `deepseek2` too, but weighs its experts otherwise."""
    if file.metadata.get(f"{name}.expert_gating_func", 1) != 1:
        raise CheckpointError(
            f"{file.path.name} weighs its experts by sigmoid (DeepSeek-V3), which is not supported.",
            hint="Use a model of the V2 family.",
        )

    def length(kind: str) -> Any:  # newer files keep the expanded heads' sizes under names of their own
        plain = file.metadata.get(f"{name}.attention.{kind}_length")
        return file.metadata.get(f"{name}.attention.{kind}_length_mla", plain)

    own = Settings({"key": length("key"), "value": length("value")}, file.path.name)
    groups = file.metadata.get(f"{name}.expert_group_count") or 1
    normalized = file.metadata.get(f"{name}.expert_weights_norm", False)
    growing = bool(file.metadata.get(f"{name}.attention.temperature_scale"))
    return {
        "model_type": "mistral4" if name == "mistral4" or normalized or growing else "deepseek_v2",
        "norm_topk_prob": normalized,
        "topk_method": "greedy" if groups == 1 else "group_limited_greedy",
        "n_group": groups,
        "topk_group": file.metadata.get(f"{name}.expert_group_used_count"),
        "head_dim": None,
        "qk_nope_head_dim": own.integer("key") - found.integer("qk_rope_head_dim"),
        "v_head_dim": own.integer("value"),
    }
