"""What Mistral itself calls the weights of models with latent attention and experts: Small 4, Large 3, Large 4.

Source: HF's `convert_mistral4_weight_to_hf.py` and `conversion_mapping.py`.
"""

from __future__ import annotations

from dataclasses import replace

from model.architectures.deepseek_v2 import latent_sources
from model.architectures.sources import Names, Source, Sources, experts
from model.config import LayerConfig

NAMES = Names(
    layer="layers.{}.",
    embedding="tok_embeddings",
    norm="norm",
    head="output",
    rope_exponents="lerope.alpha",
    attention_norm="attention_norm",
    mlp_norm="ffn_norm",
)
_ATTENTION = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.q_a_proj": "attention.wq_a",
    "self_attn.q_a_layernorm": "attention.q_a_norm",
    "self_attn.q_b_proj": "attention.wq_b",
    "self_attn.kv_a_proj_with_mqa": "attention.wkv_a_with_mqa",
    "self_attn.kv_a_layernorm": "attention.kv_a_norm",
    "self_attn.kv_b_proj": "attention.wkv_b",
    "self_attn.o_proj": "attention.wo",
}
_DENSE = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}


def layer(config: LayerConfig) -> Sources:
    """One layer but its norms."""
    found = {
        ours: replace(source, names=tuple(map(_renamed, source.names)))
        for ours, source in latent_sources(config.attention).items()
    }
    if config.mlp.router is None:
        return found | _gated("feed_forward", ours="mlp")
    found["mlp.router.weight"] = Source(("gate.weight",))
    found |= experts(config.mlp.router.experts, "experts", gate="w1", up="w3", down="w2")
    return found | (_gated("shared_experts", ours="mlp.shared") if config.mlp.shared else {})


def _gated(prefix: str, *, ours: str) -> Sources:
    return {f"{ours}.{part}.weight": Source((f"{prefix}.{name}.weight",)) for part, name in _DENSE.items()}


def _renamed(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    return f"{_ATTENTION[stem]}.{kind}"
