"""Mistral Small 4 and Large 3 as Mistral publishes them: latent attention and experts in `params.json`.

Rows that turn are stored in interleaved order, as in HF's layout. YaRN sharpens attention only where `apply_scale` is
not false; HF's conversion loses that key. Source: HF's `convert_mistral4_weight_to_hf.py` for the names; vLLM's
`transformers_utils/configs/mistral.py` and `models/deepseek_v2.py` for what the keys mean.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from model.architectures.mistral4 import MISTRAL4
from model.architectures.mistral_names import NAMES, layer
from model.architectures.settings import Settings
from model.architectures.sources import Sources, whole
from model.checkpoint.mistral_rope import read_growth, scales_magnitude, yarn_words
from model.config import ModelConfig

_KNOWN = (
    "num_experts",
    "num_experts_per_tok",
    "expert_hidden_dim",
    "num_shared_experts",
    "first_k_dense_replace",
    "routed_scale",
    "num_expert_groups",
    "num_expert_groups_per_tok",
    "route_every_n",
    "renorm_strategy",
    "use_load_balancing_bias",
    "expert_parallel",
    "expert_model_parallel",
)


def configure(settings: Settings) -> ModelConfig:
    """In the words of HF's configuration. Raises `CheckpointError`."""
    words: dict[str, Any] = {
        "model_type": MISTRAL4.name,
        "hidden_size": settings.integer("dim"),
        "num_hidden_layers": settings.integer("n_layers"),
        "intermediate_size": settings.integer("hidden_dim"),
        "num_attention_heads": settings.integer("n_heads"),
        "rms_norm_eps": settings.number("norm_eps"),
        "vocab_size": settings.integer("vocab_size"),
        "tie_word_embeddings": settings.flag("tied_embeddings", False),
        "max_position_embeddings": settings.integer(
            "max_position_embeddings", settings.optional_integer("max_seq_len")
        ),
        "rope_parameters": _rope_parameters(settings),
        "q_lora_rank": settings.optional_integer("q_lora_rank"),
    }
    for key in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"):
        words[key] = settings.integer(key)
    if words["num_hidden_layers"] == 0:
        raise settings.wrong("n_layers")
    config = MISTRAL4.configure(Settings(words | _mixture(settings), settings.source))
    growth = read_growth(settings)
    layers = (replace(layer, mixer=replace(layer.attention, growth=growth)) for layer in config.layers)
    return replace(config, layers=tuple(layers))


def _rope_parameters(settings: Settings) -> dict[str, Any]:
    base, yarn = settings.number("rope_theta", 1e4), settings.section("yarn")
    if base <= 1:
        raise settings.wrong("rope_theta")
    if yarn is None:
        return {"rope_type": "default", "rope_theta": base}
    words = yarn_words(yarn) | {"rope_type": "yarn", "rope_theta": base, "attention_factor": 1.0}
    for key in ("factor", "original_max_position_embeddings"):
        if words[key] <= 0:
            raise yarn.wrong(key)
    return words | {"mscale_all_dim": 1.0 if scales_magnitude(yarn) else 0.0}


def _mixture(settings: Settings) -> dict[str, Any]:
    moe = settings.section("moe")
    if moe is None:
        raise settings.wrong("moe")
    moe.allow(*_KNOWN)
    moe.require("route_every_n", 1)
    moe.require("num_expert_groups", 1)
    moe.require("renorm_strategy", "WEIGHTS")
    moe.require("use_load_balancing_bias", False)
    return {
        "n_routed_experts": moe.integer("num_experts"),
        "num_experts_per_tok": moe.integer("num_experts_per_tok"),
        "moe_intermediate_size": moe.integer("expert_hidden_dim"),
        "n_shared_experts": moe.integer("num_shared_experts", 1),
        "first_k_dense_replace": moe.integer("first_k_dense_replace", 0),
        "routed_scaling_factor": moe.number("routed_scale", 1.0),
    }


def sources(config: ModelConfig) -> Sources:
    """Where each weight lies."""
    return whole(config, NAMES, layer)
