"""Tiny random checkpoints of every architecture, written by HF transformers itself: one row a case."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

# transformers itself reads its text model as a part of Mistral3 alone
transformers.AutoModelForCausalLM.register(transformers.Mistral4Config, transformers.Mistral4ForCausalLM, exist_ok=True)
# which has no model of text alone; without pictures this is one
transformers.AutoModelForCausalLM.register(
    transformers.MistralLarge4Config, transformers.MistralLarge4ForConditionalGeneration, exist_ok=True
)

VOCABULARY, CONTEXT = 128, 4096
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GRANITE = {
    "embedding_multiplier": 12.0,
    "logits_scaling": 8.0,
    "residual_multiplier": 0.22,
    "attention_multiplier": 0.1,
}
_GRANITE_4 = {
    "num_local_experts": 8,
    "num_experts_per_tok": 3,
    "shared_intermediate_size": 40,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "mamba_n_heads": 8,
    "mamba_d_head": 12,
    "mamba_d_state": 16,
    "mamba_chunk_size": 16,
}
_DEEPSEEK = {
    "num_key_value_heads": 4,
    "q_lora_rank": None,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "topk_method": "greedy",
    "n_group": 1,
    "topk_group": 1,
    "routed_scaling_factor": 1.5,
    "norm_topk_prob": False,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 40.0,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 64,
}
_PLAIN_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 64,
}
_GROWING = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 16.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 16,
    "llama_4_scaling_beta": 0.3,
}
_SMALL_4 = {
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 32,
    "rope_parameters": _GROWING,
}
_SMALL_EYES = {
    "model_type": "pixtral",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
}
_LARGE_4 = {
    "num_hidden_layers": 4,  # the last does not turn
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 32,
    "index_topk": 8,
    "index_n_heads": 16,
    "index_head_dim": 16,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}


@dataclass(frozen=True)
class Case:
    """A checkpoint: HF's configuration class and what differs from the common sizes."""

    config: str
    settings: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "llama-2": Case("LlamaConfig"),
    "llama-3.1": Case("LlamaConfig", {"rope_parameters": _LLAMA3}),
    "llama-linear": Case("LlamaConfig", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}),
    "llama-yarn": Case("LlamaConfig", {"rope_parameters": _PLAIN_YARN}),
    "llama-biased": Case("LlamaConfig", {"attention_bias": True}),
    "smollm2": Case("LlamaConfig", {"tie_word_embeddings": True}),
    "mistral-7b-v0.1": Case("MistralConfig", {"sliding_window": 9}),
    "mistral-nemo": Case("MistralConfig", {"sliding_window": None, "head_dim": 16}),
    "ministral-8b": Case(
        "MinistralConfig",
        {
            "head_dim": 12,
            "sliding_window": 9,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        },
    ),
    "ministral-3": Case("Ministral3Config", {"head_dim": 16, "rope_parameters": _GROWING}),
    "mistral-small-4": Case("Mistral4Config", _SMALL_4),
    "mistral-4-mixed": Case(
        "Mistral4Config",
        _SMALL_4
        | {"first_k_dense_replace": 1, "q_lora_rank": None, "n_shared_experts": 2, "routed_scaling_factor": 1.5},
    ),
    "mistral-large-4-dense": Case(
        "MistralLarge4Config",
        _LARGE_4
        | {
            "mlp_layer_types": ["dense"] * 4,
            "no_rope_layers": [0, 1, 1, 1],
            "tie_word_embeddings": True,
            "index_topk": 3000,  # all there are
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        },
    ),
    "mistral-large-4-shared": Case(
        "MistralLarge4Config",
        _LARGE_4
        | {
            "num_hidden_layers": 6,
            "no_rope_layers": [1, 0, 1, 0, 1, 1],
            "kv_source_layers": [0, 1, 0, 1, 4, 4],
            "indexer_types": ["full", "full", "shared", "full", "shared", "shared"],
            "attention_bias": True,
            "n_shared_experts": 2,
            "routed_scaling_factor": 1.5,
            "final_logit_softcapping": 2.0,
            "rope_parameters": _YARN,
        },
    ),
    "mistral-large-4": Case("MistralLarge4Config", _LARGE_4),
    "mixtral": Case("MixtralConfig", {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "mixtral-window": Case("MixtralConfig", {"sliding_window": 9}),
    "qwen2.5-coder": Case("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen2-window": Case("Qwen2Config", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    "qwen3": Case("Qwen3Config", {"head_dim": 16}),
    "qwen3-coder": Case(
        "Qwen3MoeConfig",
        {
            "head_dim": 16,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "norm_topk_prob": True,
            "moe_intermediate_size": 16,
        },
    ),
    "qwen3-moe-mixed": Case(
        "Qwen3MoeConfig",
        {
            "head_dim": 16,
            "num_experts": 8,
            "num_experts_per_tok": 3,
            "norm_topk_prob": False,
            "moe_intermediate_size": 16,
            "mlp_only_layers": [1],
        },
    ),
    "phi-2": Case("PhiConfig", {"num_key_value_heads": 4, "partial_rotary_factor": 0.5}),
    "starcoder2": Case("Starcoder2Config", {"sliding_window": 9}),
    "granite-3": Case("GraniteConfig", _GRANITE | {"tie_word_embeddings": True}),
    "granite-3-moe": Case("GraniteMoeConfig", _GRANITE | {"num_local_experts": 8, "num_experts_per_tok": 3}),
    "granite-3-shared": Case(
        "GraniteMoeSharedConfig",
        _GRANITE | {"num_local_experts": 8, "num_experts_per_tok": 3, "shared_intermediate_size": 40},
    ),
    "deepseek-v2-lite": Case("DeepseekV2Config", _DEEPSEEK | {"rope_parameters": _YARN}),
    "deepseek-v2": Case(
        "DeepseekV2Config",
        _DEEPSEEK | {"q_lora_rank": 24, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2},
    ),
    "mamba-2": Case(
        "Mamba2Config",
        {
            "num_hidden_layers": 3,
            "num_heads": 8,
            "head_dim": 12,
            "state_size": 16,
            "n_groups": 2,
            "expand": 2,
            "chunk_size": 16,
        },
    ),
    "granite-4": Case("GraniteMoeHybridConfig", _GRANITE | _GRANITE_4),
    "granite-4-dense": Case(
        "GraniteMoeHybridConfig",
        _GRANITE | _GRANITE_4 | {"num_local_experts": 0, "position_embedding_type": "rope", "mamba_n_groups": 2},
    ),
    "mellum-2": Case(
        "MellumConfig",
        {
            "head_dim": 16,
            "num_experts": 8,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 16,
            "sliding_window": 9,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "mlp_layer_types": ["sparse", "dense", "sparse"],
        },
    ),
    "qwen3-next": Case(
        "Qwen3NextConfig",
        {
            "head_dim": 16,
            "num_hidden_layers": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 12,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "num_experts": 8,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 24,
            "mlp_only_layers": [1],
        },
    ),
    "gpt-oss": Case(
        "GptOssConfig", {"head_dim": 16, "num_local_experts": 8, "num_experts_per_tok": 4, "sliding_window": 9}
    ),
}


def write_hf(folder: Path, case: Case, *, shard: str = "50GB") -> Path:
    """Write the checkpoint, every weight random: biases, sinks and norms too."""
    settings = deepcopy(_COMMON | case.settings)  # some change what they are given
    if case.config == "MistralLarge4Config":
        tied = settings.pop("tie_word_embeddings", False)
        settings = {"text_config": settings, "vision_config": dict(_SMALL_EYES), "tie_word_embeddings": tied}
    config = getattr(transformers, case.config)(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                # Qwen3-Next stores what is added to one.
                centre = 0 if case.config == "Qwen3NextConfig" and "linear_attn" not in name else 1
                _randomize(name, weight, norm=centre)
            for name, weight in model.named_buffers():
                if name.endswith("rotary_emb.alpha"):  # learned, although HF keeps it so
                    weight.normal_(0, 0.5)
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


def _randomize(name: str, weight: torch.Tensor, *, norm: float) -> None:
    if name.endswith(("norm.weight", "norm_f.weight", "layernorm.weight")):
        weight.normal_(norm, 0.2)
    elif name.endswith(("softmax_scaling.scale", "softmax_scaling.bias")):
        weight.normal_(1 if name.endswith("bias") else 0.2, 0.2)
    elif name.endswith("A_log"):  # from a slow fade to a fast one
        weight.uniform_(-2, 1)
    elif weight.dim() == 1 or name.endswith("bias"):
        weight.normal_(0, 0.5)
    else:  # wide enough that attention, routing and output are far from uniform
        weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5)


def hf_model(folder: Path) -> Any:
    """HF's model of a checkpoint, with its plainest attention."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def count_parameters(model: Any) -> int:
    """Of what reads and writes text, with what HF keeps as a buffer although it is learned."""
    seeing = ("model.vision_tower.", "model.multi_modal_projector.")
    own = [weight for name, weight in model.named_parameters() if not name.startswith(seeing)]
    learned = [buffer for name, buffer in model.named_buffers() if name.endswith("rotary_emb.alpha")]
    return sum(weight.numel() for weight in (*own, *learned))
